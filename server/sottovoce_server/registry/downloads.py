"""Downloads of files: by range, with the SHA-256 as the ETag, and without transformation."""

from pathlib import Path

from fastapi import Request, Response
from fastapi.responses import FileResponse

from sottovoce.release.manifest import LOG_FILE, MANIFEST_FILE, SIGNATURE_FILE
from sottovoce_server.registry.schema import File

JSON_FILES = (MANIFEST_FILE, SIGNATURE_FILE, LOG_FILE)


def file_response(request: Request, file: File, path: Path) -> Response:
    """The answer to a request for a file (RFC 9110: ranges, `If-Range`, `If-None-Match`).

    Args:
        request: its headers state the wanted range, and the digest that the caller already has.
        file: the file's entry in the database.
        path: path of its content.
    """
    headers = {
        "ETag": f'"{file.sha256}"',
        "Cache-Control": "private, no-cache",
        "Vary": "Authorization",
        "X-Content-Type-Options": "nosniff",
    }
    if _has(request.headers.get("if-none-match", ""), file.sha256):
        return Response(status_code=304, headers=headers)
    kind = "application/json" if file.name in JSON_FILES else "application/octet-stream"
    return FileResponse(path, headers=headers, media_type=kind)


def _has(header: str, sha256: str) -> bool:
    offered = {each.strip().removeprefix("W/") for each in header.split(",")}
    return "*" in offered or f'"{sha256}"' in offered
