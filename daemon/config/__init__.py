"""Everything that can be set: one file for each section of `placemat.toml`, named as the section is.

`settings` puts them together and checks what concerns several of them; `load` reads the file and says what is wrong.
"""
