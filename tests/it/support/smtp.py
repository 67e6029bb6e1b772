"""A mail server for tests: every mail becomes a file. Arguments: port, directory, how (off, starttls, tls), user,
password, certificate, key; user, certificate and key may be empty."""

import asyncio
import ssl
import sys
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult

port, directory, how, user, password, cert, key = sys.argv[1:8]
directory = Path(directory)


class Keep:
    def __init__(self):
        self.count = 0

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        secured = "tls" if session.ssl or how == "tls" else "clear"
        who = session.auth_data.decode() if session.authenticated else "-"
        head = f"{secured}\n{who}\n{envelope.mail_from}\n{','.join(envelope.rcpt_tos)}\n"
        part = directory / f".{self.count}"
        part.write_bytes(head.encode() + envelope.content)
        part.rename(directory / f"{self.count:04}.eml")
        return "250 kept"


def check(server, session, envelope, mechanism, data):
    good = (data.login.decode(), data.password.decode()) == (user, password)
    return AuthResult(success=good, handled=False, auth_data=data.login if good else None)


context = None
if cert:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
wants = {"authenticator": check, "auth_required": True, "auth_require_tls": how != "off"} if user else {}
if how == "starttls":
    wants |= {"tls_context": context, "require_starttls": True}


keep = Keep()
if how == "tls" and user:
    # The connection is TLS already, which the server does not see.
    wants["auth_require_tls"] = False


async def main():
    loop = asyncio.get_running_loop()
    factory = lambda: SMTP(keep, hostname="127.0.0.1", loop=loop, enable_SMTPUTF8=True, **wants)
    server = await loop.create_server(factory, "127.0.0.1", int(port), ssl=context if how == "tls" else None)
    (directory / "ready").touch()
    await server.serve_forever()


asyncio.run(main())
