"""Files that users attach: announced first, uploaded in a second request (two-phase upload)."""

from __future__ import annotations

import secrets

from chatkit.store import AttachmentStore, Store
from chatkit.types import (
    Attachment,
    AttachmentCreateParams,
    AttachmentUploadDescriptor,
    FileAttachment,
    ImageAttachment,
)
from fastapi import APIRouter, HTTPException, Request, UploadFile
from fastapi.responses import Response

from context import RequestContext

MAX_BYTES = 10 * 1024 * 1024


class Attachments(AttachmentStore[RequestContext]):
    """Keeps uploaded bytes in memory; what is known about a file is in the store."""

    def __init__(self, store: Store[RequestContext]) -> None:
        self._store = store
        self._bytes: dict[str, bytes] = {}

    def generate_attachment_id(self, mime_type: str, context: RequestContext) -> str:
        # As in stores.py.
        return super().generate_attachment_id(mime_type, context) + secrets.token_hex(12)

    async def create_attachment(self, input: AttachmentCreateParams, context: RequestContext) -> Attachment:
        if input.size > MAX_BYTES:
            # Answered as it is, since attachments.create is one of the operations without a stream.
            raise HTTPException(413, f"Files may have at most {MAX_BYTES} bytes.")
        id = self.generate_attachment_id(input.mime_type, context)
        url = f"{context.base_url}/attachments/{id}"
        shared = {
            "id": id,
            "name": input.name,
            "mime_type": input.mime_type,
            "upload_descriptor": AttachmentUploadDescriptor(url=url, method="POST"),
        }
        if input.mime_type.startswith("image/"):
            return ImageAttachment(**shared, preview_url=url)
        return FileAttachment(**shared)

    async def delete_attachment(self, attachment_id: str, context: RequestContext) -> None:
        await self._store.load_attachment(attachment_id, context)
        self._bytes.pop(attachment_id, None)

    def router(self) -> APIRouter:
        """The upload itself, which is no part of the ChatKit protocol, and the preview of images."""
        router = APIRouter()

        @router.post("/attachments/{id}")
        async def upload(id: str, file: UploadFile, request: Request) -> Response:
            context = RequestContext.of(request)
            attachment = await self._store.load_attachment(id, context)
            content = await file.read(MAX_BYTES + 1)
            if len(content) > MAX_BYTES:
                raise HTTPException(413, f"Files may have at most {MAX_BYTES} bytes.")
            self._bytes[id] = content
            attachment.upload_descriptor = None
            await self._store.save_attachment(attachment, context)
            body = attachment.model_dump_json(exclude_none=True, context={"exclude_metadata": True})
            return Response(body, media_type="application/json")

        @router.get("/attachments/{id}")
        async def preview(id: str, request: Request) -> Response:
            attachment = await self._store.load_attachment(id, RequestContext.of(request))
            if id not in self._bytes or not isinstance(attachment, ImageAttachment):
                raise HTTPException(404, "There is no preview of this file.")
            headers = {"x-content-type-options": "nosniff"}
            return Response(self._bytes[id], media_type=attachment.mime_type, headers=headers)

        return router
