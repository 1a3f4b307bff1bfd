"""Sample rows of the tables that only the primary holds: people, dates, money."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal

from daemon.embedded import sample_text as text
from daemon.embedded.sample_rows import Row, Rows, Sample, random_uuid

INVOICES = 60
GST = Decimal("1.10")


def organisation(sample: Sample, n: int) -> Row:
    rng = sample.rng
    name = f"{rng.choice(text.PLACES)} {rng.choice(text.FUNDERS)}"
    return {
        "name": name,
        "kind": rng.choice(("community", "government", "philanthropy")),
        "abn": sample.maybe(f"00 000 {rng.randrange(1000):03} {n:03}"),
        "website": sample.maybe(f"https://{text.slug(name)}.example"),
    }


def opportunity(sample: Sample, n: int) -> Row:
    rng = sample.rng
    return {
        "project_id": sample.maybe(sample.pick("projects")),
        "funder_id": sample.maybe(sample.pick("organisations")),
        "name": f"{rng.choice(text.FUNDERS)} round {n + 1}",
        "stage": rng.choice(("identified", "preparing", "submitted", "won", "lost")),
        "amount": sample.maybe(sample.dollars(5_000, 900_000)),
        "probability": rng.randrange(0, 101, 5),
        "deadline": sample.maybe(sample.day()),
    }


def contact(sample: Sample, n: int) -> Row:
    rng = sample.rng
    given, family = rng.choice(text.GIVEN_NAMES), rng.choice(text.FAMILY_NAMES)
    address = f"{text.slug(given)}.{text.slug(family)}.{n}"
    return {
        "organisation_id": sample.maybe(sample.pick("organisations")),
        "given_name": given,
        "family_name": family,
        "emails": [f"{address}@mail.example", f"{address}@work.example"][: rng.randrange(3)],
        "phone": sample.maybe(f"+61 491 570 {n:03}", 0.5),
        "source": rng.choice(("gmail", "linkedin", "airtable", "manual")),
        "linkedin_url": sample.maybe(f"https://linkedin.example/in/{address}", 0.4),
        "last_contacted_at": sample.maybe(sample.moment(), 0.6),
        "contact_frequency_days": sample.maybe(rng.choice((7, 30, 90, 365)), 0.4),
    }


def interaction(sample: Sample, n: int) -> Row:
    return {
        "contact_id": sample.pick("contacts"),
        "message_id": f"<{n}.{sample.rng.getrandbits(64):016x}@mail.example>",
        "direction": sample.rng.choice(("inbound", "outbound")),
        "occurred_at": sample.moment(),
    }


def event(sample: Sample, n: int) -> Row:
    rng, starts = sample.rng, sample.moment().replace(minute=0, second=0, microsecond=0)
    all_day = rng.random() < 0.2
    return {
        "project_id": sample.maybe(sample.pick("projects")),
        "title": f"{rng.choice(text.UNDERTAKINGS)} day at {rng.choice(text.PLACES)}",
        "description": sample.maybe(text.paragraph(rng)),
        "place": sample.maybe(rng.choice(text.PLACES)),
        "starts_at": starts,
        "ends_at": starts + (timedelta(days=1) if all_day else timedelta(hours=rng.randrange(1, 6))),
        "all_day": all_day,
        "attendees": [f"guest{n}.{seat}@mail.example" for seat in range(rng.randrange(6))],
    }


def action(sample: Sample, n: int) -> Row:
    rng = sample.rng
    return {
        "project_id": sample.pick("projects"),
        "assignee_id": sample.maybe(sample.pick("contacts")),
        "title": f"{rng.choice(('Call', 'Write to', 'Visit', 'Thank'))} {text.full_name(rng)} ({n + 1})",
        "status": rng.choice(("open", "in_progress", "done")),
        "due_on": sample.maybe(sample.day()),
    }


def place(sample: Sample, n: int) -> Row:
    rng = sample.rng
    return {
        "name": text.PLACES[n],
        "region": rng.choice(text.REGIONS),
        "latitude": round(rng.uniform(-38, -12), 6),
        "longitude": round(rng.uniform(114, 153), 6),
    }


def artifact(sample: Sample, n: int) -> Row:
    rng = sample.rng
    return {
        "project_id": sample.pick("projects"),
        "place_id": sample.maybe(sample.pick("places")),
        "name": f"{rng.choice(text.UNDERTAKINGS)} poster {n + 1}",
        "kind": "poster",
        "url": sample.maybe(f"https://files.example/posters/{n + 1}.pdf"),
    }


def project_contacts(sample: Sample) -> Rows:
    rng = sample.rng
    rows: list[Row] = [
        {
            "id": random_uuid(rng), "project_id": project_id, "contact_id": contact_id, "workspace_id": workspace,
            "role": rng.choice(text.ROLES),
        }
        for workspace in sample.workspaces
        for project_id in sample.keys["projects", workspace]
        for contact_id in rng.sample(sample.keys["contacts", workspace], 2)
    ]  # fmt: skip
    return Rows("project_contacts", rows)


def invoices(sample: Sample) -> Iterator[Rows]:
    """Invoices with their lines, and for those that are paid the payment and the bank's side of it."""
    heads: list[Row] = []
    lines: list[Row] = []
    deposits: list[Row] = []
    payments: list[Row] = []
    for n in range(INVOICES):
        sample.enter_workspace(n)
        head = invoice(sample, n)
        own_lines = invoice_lines(sample, head)
        total = sum((line_total(line) for line in own_lines), Decimal(0)).quantize(Decimal("0.01"), ROUND_HALF_UP)
        heads.append({**head, "total": total})
        lines.extend(own_lines)
        if head["status"] == "paid":
            deposits.append(deposit(sample, head, total))
            payments.append(payment(sample, head, deposits[-1], total))
    yield Rows("invoices", heads)
    yield Rows("invoice_lines", lines)
    yield Rows("bank_transactions", deposits)
    yield Rows("payments", payments)


def invoice(sample: Sample, n: int) -> Row:
    issued = sample.day()
    return {
        "id": sample.new_key("invoices"),
        "workspace_id": sample.workspace,
        "contact_id": sample.pick("contacts"),
        "project_id": sample.maybe(sample.pick("projects")),
        "number": f"INV-{n:04}",
        "status": sample.rng.choice(("draft", "submitted", "authorised", "paid", "paid")),
        "issued_on": issued,
        "due_on": issued + timedelta(days=14),
    }


def invoice_lines(sample: Sample, head: Row) -> list[Row]:
    rng = sample.rng
    return [
        {
            "id": random_uuid(rng),
            "workspace_id": head["workspace_id"],
            "invoice_id": head["id"],
            "line_number": number,
            "description": f"{rng.choice(text.UNDERTAKINGS)}: {text.sentence(rng)}",
            "quantity": Decimal(rng.randrange(1, 80)) / 4,
            "unit_amount": sample.dollars(5, 900),
            "account_code": "200",
        }
        for number in range(1, rng.randrange(2, 6))
    ]


def line_total(line: Row) -> Decimal:
    quantity, amount = line["quantity"], line["unit_amount"]
    assert isinstance(quantity, Decimal)
    assert isinstance(amount, Decimal)
    return quantity * amount * GST


def deposit(sample: Sample, head: Row, total: Decimal) -> Row:
    return {
        "id": random_uuid(sample.rng),
        "workspace_id": head["workspace_id"],
        "account": sample.rng.choice(("Everyday account", "Grants account")),
        "occurred_on": head["due_on"],
        "amount": total,
        "description": f"Transfer {head['number']}",
        "reconciled": True,
    }


def payment(sample: Sample, head: Row, deposited: Row, total: Decimal) -> Row:
    return {
        "id": random_uuid(sample.rng),
        "workspace_id": head["workspace_id"],
        "invoice_id": head["id"],
        "bank_transaction_id": deposited["id"],
        "amount": total,
        "paid_on": head["due_on"],
        "reference": head["number"],
    }
