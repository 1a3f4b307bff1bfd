"""The refusals, in the shape and words of Notion's status codes."""

from __future__ import annotations

from collections.abc import Mapping

Body = dict[str, object]


class ApiError(Exception):
    """An answer that is no success: `status`, `code`, the vendor's message and what it adds to it."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        additional: Mapping[str, object] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.additional = additional
        self.retry_after = retry_after

    def body(self, request_id: str) -> Body:
        found: Body = {"object": "error", "status": self.status, "code": self.code, "message": self.message}
        if self.additional is not None:
            found["additional_data"] = dict(self.additional)
        return found | {"request_id": request_id}


def validation(message: str) -> ApiError:
    return ApiError(400, "validation_error", message)


def not_found(what: str, id_: str) -> ApiError:
    """Notion, status codes: missing, or not shared with this connection; the two are not told apart."""
    shared = "Make sure the relevant pages and databases are shared with your integration."
    return ApiError(404, "object_not_found", f"Could not find {what} with ID: {id_}. {shared}")


def unauthorized() -> ApiError:
    return ApiError(401, "unauthorized", "API token is invalid.")


def invalid_url() -> ApiError:
    return ApiError(400, "invalid_request_url", "Invalid request URL.")


def invalid_json() -> ApiError:
    return ApiError(400, "invalid_json", "Error parsing JSON body.")


def invalid_grant(message: str) -> ApiError:
    return ApiError(400, "invalid_grant", message)


def missing_version(given: str | None) -> ApiError:
    name = "Notion-Version header"
    if given is None:
        return ApiError(
            400, "missing_version", f"{name} failed validation: {name} should be defined, instead was `undefined`."
        )
    return validation(f'{name} failed validation: {name} should be a supported version, instead was `"{given}"`.')


def trashed() -> ApiError:
    """Notion, status codes: other edits of a page in the trash."""
    return validation("Can't edit block that is archived. You must unarchive the block before editing.")


def throttled(reason: str, retry_after: int | None) -> ApiError:
    """Notion, request limits: the wait stands in the header and in the body."""
    told: Body = {"rate_limit_reason": reason}
    if retry_after is not None:
        told["retry_after"] = retry_after
    return ApiError(
        429,
        "rate_limited",
        "You have been rate limited. Please try again in a few minutes.",
        additional=told,
        retry_after=retry_after,
    )


def overloaded(retry_after: int) -> ApiError:
    """Notion, request limits: 529 carries Retry-After as 429 does."""
    return ApiError(529, "service_overload", "Notion is overloaded. Please try again later.", retry_after=retry_after)


def full(limit: int) -> ApiError:
    """Notion, request limits: a free workspace's blocks are used up."""
    return ApiError(
        403, "restricted_resource", "This workspace has reached its block limit.", additional={"block_limit": limit}
    )


def unavailable(committed: Mapping[str, object] | None) -> ApiError:
    """Notion, status codes: a write may be answered so after it was saved; `committed` are the ids it tells."""
    told: Body | None = None
    if committed is not None:
        told = {"retry_guidance": ["Read the object again", "Do not repeat the write"], **committed}
    return ApiError(
        503,
        "service_unavailable",
        "Public API service is temporarily unavailable, please try again later.",
        additional=told,
    )


def conflict() -> ApiError:
    return ApiError(409, "conflict_error", "Conflict occurred while saving. Please try again.")


OF_STATUS: Mapping[int, tuple[str, str]] = {
    500: ("internal_server_error", "Unexpected error occurred."),
    503: ("service_unavailable", "Public API service is temporarily unavailable, please try again later."),
    504: ("gateway_timeout", "Request timed out."),
}
"""What a failure of the service says; 502 comes from a gateway and is no JSON."""
