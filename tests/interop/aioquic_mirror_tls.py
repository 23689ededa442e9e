"""aioquic as the mirror, `crosslink listen` as the source: whose certificate is let in. A TLS 1.3 client has finished
its own handshake before the server judges its certificate: the refusal comes after that, and no ack ever does."""

import asyncio
import unittest

from aioquic.tls import AlertDescription
from peer import ALPN, HELLO_STREAM, Authority, InteropTest, ack_fields, hello, mirror


class CertificateTest(InteropTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source = cls.listen()

    def dial(self, credentials, **options):
        return mirror(self.source.port, credentials, ca=self.prod_us.ca, **options)

    async def refused(self, credentials, **options):
        """Dials, says hello as soon as it can, and expects nothing but a TLS alert. The source lives on."""
        async with self.dial(credentials, **options) as dialled:
            await dialled.until(lambda: dialled.connected or dialled.end, "the end of the TLS handshake")
            if dialled.connected:
                dialled.send(HELLO_STREAM, hello(), end=True)
            end = await dialled.until_ended()
            self.assert_tls_alert(end)
            self.assertEqual(dialled.stream(HELLO_STREAM).data, b"")
        await self.accepted(self.eu_1)
        return AlertDescription(end.error_code - 0x100)

    async def accepted(self, credentials, **options):
        async with self.dial(credentials, **options) as dialled:
            await dialled.until_connected()
            dialled.send(HELLO_STREAM, hello(), end=True)
            self.assertEqual(await dialled.until_ack(), ack_fields())

    async def line(self):
        return await asyncio.to_thread(self.source.line)


class Refused(CertificateTest):
    async def test_no_client_certificate(self):
        self.assertEqual(await self.refused(None), AlertDescription.certificate_required)

    async def test_a_certificate_of_an_unknown_ca(self):
        await self.refused(self.other_authority.issue("eu-1", ["eu-1"]))

    async def test_a_certificate_of_a_ca_that_only_has_the_right_name(self):
        impostor = Authority(self.other_authority.folder / "again" / self.authority.folder.name)
        self.assertEqual(impostor.name, self.authority.name)
        await self.refused(impostor.issue("eu-1", ["eu-1"]))

    async def test_a_self_signed_certificate(self):
        other = Authority(self.other_authority.folder / "self")
        await self.refused(other.own_credentials())

    async def test_a_wildcard_dns_name_only(self):
        await self.refused(self.authority.issue("wildcard", ["*.example", "*"]))

    async def test_a_common_name_without_dns_name(self):
        await self.refused(self.authority.issue("common-name", common_name="eu-1"))

    async def test_no_name_at_all(self):
        await self.refused(self.authority.issue("nameless"))

    async def test_an_expired_certificate(self):
        await self.refused(self.authority.issue("expired", ["eu-1"], from_days=-3, to_days=-1))

    async def test_a_certificate_that_is_not_valid_yet(self):
        await self.refused(self.authority.issue("early", ["eu-1"], from_days=2, to_days=3))

    async def test_another_alpn(self):
        for alpn in ("crosslink/2", "h3", "crosslink/1 ", "CROSSLINK/1"):
            with self.subTest(alpn=alpn):
                self.assertEqual(await self.refused(self.eu_1, alpn=alpn), AlertDescription.no_application_protocol)


class Accepted(CertificateTest):
    async def test_several_dns_names(self):
        several = self.authority.issue("several", ["eu-9", "eu-nine.example", "eu-neuf.example"])
        await self.accepted(several)
        self.assertIn(" names=eu-9,eu-nine.example,eu-neuf.example ", await self.line())

    async def test_a_wildcard_beside_a_name_counts_for_nothing(self):
        await self.accepted(self.authority.issue("beside", ["*.example", "EU-7"], common_name="prod-us"))
        self.assertIn(" names=eu-7 ", await self.line())

    async def test_the_sources_own_certificate_passes_aioquics_judgement(self):
        async with self.dial(self.eu_1) as dialled:
            await dialled.until_connected()
            self.assertEqual(dialled.peer_certificate_der(), self.prod_us.der())
            self.assertEqual(dialled.connected.alpn_protocol, ALPN)
        await self.line()

    async def test_aioquic_refuses_the_source_under_another_name(self):
        async with self.dial(self.eu_1, server_name="prod-eu") as dialled:
            self.assert_tls_alert(await dialled.until_ended())


if __name__ == "__main__":
    unittest.main(verbosity=2)
