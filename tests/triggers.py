"""Triggers of the application, for tests of what they make beside what we write."""

from __future__ import annotations

FIRST_STORY = """
CREATE FUNCTION first_story() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.stories (id, workspace_id, storyteller_id, title, content)
    VALUES (md5(NEW.id::text)::uuid, NEW.workspace_id, NEW.id, 'The first story', '{where}');
    RETURN NEW;
END
$$;
CREATE TRIGGER first_story AFTER INSERT ON storytellers FOR EACH ROW WHEN (NEW.bio = 'tells one')
EXECUTE FUNCTION first_story();
ALTER TABLE storytellers ENABLE ALWAYS TRIGGER first_story;
"""
