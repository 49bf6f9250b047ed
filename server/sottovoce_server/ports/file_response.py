"""Downloads of files: by range, with the SHA-256 as the ETag, and without transformation."""

from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import FileResponse


def file_response(request: Request, path: Path, sha256: str, kind: str, *, vary: str, **options: Any) -> Response:
    """The answer to a request for a file (RFC 9110: ranges, `If-Range`, `If-None-Match`).

    Args:
        request: its headers state the wanted range, and the digest that the caller already has.
        path: path of its content.
        sha256: digest of its content (hex).
        kind: media type.
        vary: headers on which the answer depends.
        options: further arguments of `FileResponse`.
    """
    headers = {
        "ETag": f'"{sha256}"',
        "Cache-Control": "private, no-cache",
        "Vary": vary,
        "X-Content-Type-Options": "nosniff",
    }
    if _has(request.headers.get("if-none-match", ""), sha256):
        return Response(status_code=304, headers=headers)
    return FileResponse(path, headers=headers, media_type=kind, **options)


def _has(header: str, sha256: str) -> bool:
    offered = {each.strip().removeprefix("W/") for each in header.split(",")}
    return "*" in offered or f'"{sha256}"' in offered
