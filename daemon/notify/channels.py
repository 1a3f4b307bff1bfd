"""The two ways to tell somebody. Each raises what says whether the same message may go through later."""

from __future__ import annotations

import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from http.client import HTTPException
from typing import Protocol

from daemon import VERSION
from daemon.config.notify import Notify
from daemon.notify.message import Message

TIMEOUT_SECONDS = 5.0
"""Of one answer; a worker that is to end has ten for all."""
_PASSING = (408, 425, 429)


class NotTold(Exception):
    """A message did not arrive; the sentence names no address. `passing`: it may go through a little later."""

    def __init__(self, sentence: str, *, passing: bool) -> None:
        super().__init__(sentence)
        self.passing = passing


class Channel(Protocol):
    @property
    def name(self) -> str: ...

    def send(self, message: Message, message_id: str) -> None:
        """`message_id` is the same when the same message is sent once more. Raises NotTold."""


class Webhook:
    """A POST with JSON, answered by any 2xx."""

    name = "webhook"

    def __init__(self, url: str) -> None:
        self._url = url
        self._opener = urllib.request.build_opener(_NoRedirect())

    def send(self, message: Message, message_id: str) -> None:
        headers = {
            "Content-Type": "application/json", "User-Agent": f"placemat/{VERSION}", "Idempotency-Key": message_id,
        }  # fmt: skip
        request = urllib.request.Request(self._url, message.content, headers, method="POST")
        try:
            self._opener.open(request, timeout=TIMEOUT_SECONDS).close()
        except urllib.error.HTTPError as error:
            with error:
                passing = error.code >= 500 or error.code in _PASSING
                raise NotTold(f"the webhook answered {error.code}", passing=passing) from None
        except (OSError, HTTPException, ValueError) as error:
            raise NotTold(f"the webhook does not answer ({type(error).__name__})", passing=True) from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Followed, a POST would become a GET without its content."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


class Mail:
    """One e-mail to all addresses."""

    name = "email"

    def __init__(self, notify: Notify) -> None:
        assert notify.email_to is not None, "somebody is to get it"
        self._to = notify.email_to
        self._notify = notify

    def send(self, message: Message, message_id: str) -> None:
        mail = EmailMessage()
        mail["Subject"] = f"placemat: {message.summary}"
        mail["From"], mail["To"] = self._notify.email_from, self._to
        mail["Date"] = formatdate()
        mail["Message-ID"] = make_msgid(message_id, domain="placemat.invalid")
        mail.set_content(message.text)
        try:
            self._deliver(mail)
        except smtplib.SMTPResponseException as error:
            passing = 400 <= error.smtp_code < 500
            raise NotTold(f"the mail server answered {error.smtp_code}", passing=passing) from None
        except smtplib.SMTPRecipientsRefused as error:
            codes = sorted({code for code, _ in error.recipients.values()})
            raise NotTold(f"the mail server refuses the addresses ({codes})", passing=False) from None
        except smtplib.SMTPNotSupportedError:
            raise NotTold("the mail server offers no TLS, or no login", passing=False) from None
        except (OSError, smtplib.SMTPException) as error:
            raise NotTold(f"the mail server does not answer ({type(error).__name__})", passing=True) from None

    def _deliver(self, mail: EmailMessage) -> None:
        notify, tls = self._notify, ssl.create_default_context()
        if notify.smtp_security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                notify.smtp_host, notify.smtp_port, timeout=TIMEOUT_SECONDS, context=tls
            )
        else:
            server = smtplib.SMTP(notify.smtp_host, notify.smtp_port, timeout=TIMEOUT_SECONDS)
        with server:
            if notify.smtp_security == "starttls":
                server.starttls(context=tls)
            if notify.smtp_user is not None and notify.smtp_password is not None:
                server.login(notify.smtp_user, notify.smtp_password.get_secret_value())
            server.send_message(mail)


def channels(notify: Notify) -> Iterator[Channel]:
    """Those that are configured."""
    if notify.webhook_url is not None:
        yield Webhook(notify.webhook_url.get_secret_value())
    if notify.email_to is not None:
        yield Mail(notify)
