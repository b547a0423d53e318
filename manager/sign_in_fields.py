"""The settings of the login through an OpenID Connect provider; see ``setting_fields``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from manager.errors import SettingsError
from manager.setting_kinds import Issuer, PathIn, Switch, Text, setting
from manager.use_fields import UseFields


@dataclass(frozen=True)
class SignInFields(UseFields):
    """Who vouches for people, and what of that counts here."""

    oidc_issuer: str = setting(
        Issuer(),
        "",
        "OpenID Connect provider for logins beside passwords: its issuer, exactly as its discovery "
        "document has it. Empty: passwords alone.",
    )
    oidc_client_id: str = setting(
        Text(), "", "The name under which the manager is registered at the provider."
    )
    oidc_client_secret_file: Path = setting(
        PathIn(),
        Path("oidc_client_secret"),
        "With OIDC_ISSUER: file with the secret that the provider gave out, for the manager's "
        "account alone.",
    )
    oidc_name: str = setting(
        Text(), "", "What people call the provider, for the button on the login page. Empty: SSO."
    )
    oidc_username_claim: str = setting(
        Text(),
        "preferred_username",
        "Claim of the provider that has a person's name here. It counts once, when an account is "
        "made or tied to him.",
    )
    oidc_create_users: bool = setting(
        Switch(),
        False,
        "Make an account for each person whom the provider lets in. false: only accounts that an "
        "admin has made and opened to the provider.",
    )
    oidc_admin_group: str = setting(
        Text(),
        "",
        "Group at the provider whose members are admins here, and nobody else who comes by it: "
        "looked at with each login. Empty: admins are made here alone.",
    )
    oidc_groups_claim: str = setting(
        Text(), "groups", "Claim of the provider that lists a person's groups."
    )


def check_sign_in(settings: SignInFields) -> None:
    """Refuse settings of the provider that cannot work together.

    Raises:
        SettingsError: says which.
    """
    if not settings.oidc_issuer:
        return
    for name in ("oidc_client_id", "oidc_username_claim", "oidc_groups_claim"):
        if not getattr(settings, name):
            raise SettingsError(f"{name.upper()} is empty; OIDC_ISSUER needs it")
