"""HTTPS on the admins' page: whose certificate it is, and the root certificate to hand round."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from manager.errors import NotFound
from manager.gate.names import own_names
from manager.gate.tls import shown
from manager.settings import Settings
from manager.web.services import services

admin_https = Blueprint("admin_https", __name__)


def https_view(settings: Settings) -> dict[str, Any] | None:
    """Show the certificate that people meet or trust; None where none can be read."""
    found = shown(settings)
    if found is None or found.certificate is None:
        return None
    own = settings.tls == "internal"
    return {
        "kind": settings.tls,
        "path": str(found.path),
        "until": found.certificate.expires_at,
        # The gate has asked already, so nothing waits for a name server here.
        "names": list(own_names(settings.external_ip) if own else found.certificate.names),
        "fingerprint": found.certificate.fingerprint.upper(),
    }


@admin_https.get("/admin/root-certificate")
def root_certificate() -> ResponseReturnValue:
    """Give the own authority's certificate, which holds no secret."""
    settings = services().manager.settings
    found = shown(settings)
    if settings.tls != "internal" or found is None or found.certificate is None:
        raise NotFound("there is no authority of our own")
    headers = {"Content-Disposition": 'attachment; filename="comfyui-manager-root.crt"'}
    return Response(found.path.read_bytes(), mimetype="application/x-x509-ca-cert", headers=headers)
