"""aioquic as the source, `crosslink ping` as the mirror: whose certificate ping trusts, and what it shows of it."""

import unittest

from aioquic.tls import AlertDescription
from peer import CRYPTO_FRAME, HELLO_STREAM, Authority, InteropTest, ack, hello, mirror, ping, source


class CertificateTest(InteropTest):
    async def accepted(self, credentials, *more, alpn="crosslink/1", **options):
        async def answer(peer):
            self.assertEqual(await peer.until_frame(), hello())
            self.assertEqual(peer.peer_certificate_der(), self.eu_1.der())
            peer.send(HELLO_STREAM, ack(), end=True)
            self.assert_closed_with(await peer.until_ended(), 0x00)

        async with source(answer, credentials, alpn=alpn) as scripted:
            said = await ping(scripted.port, self.eu_1, *more, **options)
        self.assertEqual((said.code, said.json["error"], said.json["alpn"]), (0, None, alpn), said)
        return said

    async def refused(self, credentials, caused_by="us", alpn="crosslink/1", **options):
        """ping must refuse, and must not have said hello. Gives what it said and how aioquic saw the end."""
        ends = []

        async def nothing(peer):
            ends.append(await peer.until_ended())
            self.assertEqual(peer.stream(HELLO_STREAM).data, b"")

        async with source(nothing, credentials, alpn=alpn) as scripted:
            said = await ping(scripted.port, self.eu_1, **options)
        self.assertEqual((said.json["error"], said.code, said.json["caused_by"]), ("TlsRefused", 6, caused_by), said)
        self.assertIsNone(said.json["accepted"])
        self.assertTrue(said.json["message"].isprintable())
        self.assertEqual(len(ends), 1)
        return said, ends[0]


class Refused(CertificateTest):
    async def refused_by_alert(self, credentials, **options):
        said, end = await self.refused(credentials, **options)
        self.assert_tls_alert(end)
        return said

    async def test_another_name(self):
        said = await self.refused_by_alert(self.authority.issue("elsewhere", ["prod-eu", "prod-us.example", "us"]))
        self.assertIn("prod-us", said.json["message"])

    async def test_a_wildcard_that_others_let_match(self):
        wildcard = self.authority.issue("wildcard", ["*.eu.example"])

        async def nothing(peer):
            await peer.until_ended()

        async with source(nothing, wildcard) as scripted:
            async with mirror(scripted.port, self.eu_1, ca=self.prod_us.ca, server_name="prod.eu.example") as dialled:
                await dialled.until_connected()  # aioquic takes it: only crosslink's own rule can refuse it
        said = await self.refused_by_alert(wildcard, cluster="prod.eu.example")
        self.assertIn("wildcards", said.json["message"])

    async def test_wildcards_of_shapes_nobody_lets_match(self):
        await self.refused_by_alert(self.authority.issue("shapes", ["*", "*.prod-us", "prod-*"]))

    async def test_a_common_name_without_dns_name(self):
        await self.refused_by_alert(self.authority.issue("common-name", common_name="prod-us"))

    async def test_a_common_name_beside_another_dns_name(self):
        await self.refused_by_alert(self.authority.issue("both", ["prod-eu"], common_name="prod-us"))

    async def test_a_certificate_of_an_unknown_ca(self):
        await self.refused_by_alert(self.other_authority.issue("prod-us", ["prod-us"]))

    async def test_a_certificate_of_a_ca_that_only_has_the_right_name(self):
        impostor = Authority(self.other_authority.folder / "again" / self.authority.folder.name)
        await self.refused_by_alert(impostor.issue("prod-us", ["prod-us"]))

    async def test_an_expired_certificate(self):
        said = await self.refused_by_alert(self.authority.issue("expired", ["prod-us"], from_days=-3, to_days=-1))
        self.assertIn("expired", said.json["message"])

    async def test_a_certificate_that_is_not_valid_yet(self):
        await self.refused_by_alert(self.authority.issue("early", ["prod-us"], from_days=2, to_days=3))

    async def test_another_alpn(self):
        said, _ = await self.refused(self.prod_us, caused_by="peer", alpn="crosslink/2")
        self.assertIn("ALPN", said.json["message"])

    async def test_a_source_that_refuses_our_certificate(self):
        words = {AlertDescription.unknown_ca: "unknown CA", AlertDescription.certificate_expired: "expired",
                 AlertDescription.bad_certificate: "certificate", AlertDescription.certificate_required: "required",
                 AlertDescription.access_denied: "denied"}
        for alert, word in words.items():
            with self.subTest(alert=alert):
                async def refuse(peer, alert=alert):
                    await peer.until_connected()
                    peer.quic.close(error_code=0x100 + alert, frame_type=CRYPTO_FRAME)
                    peer.transmit()

                async with source(refuse, self.prod_us) as scripted:
                    said = await ping(scripted.port, self.eu_1)
                self.assertEqual((said.json["error"], said.json["caused_by"], said.code), ("TlsRefused", "peer", 6),
                                 said)
                self.assertIn(word, said.json["message"])


class Accepted(CertificateTest):
    async def test_any_of_several_dns_names(self):
        names = ["prod-eu", "*.example", "prod-us", "prod-asia.example"]
        said = await self.accepted(self.authority.issue("several", names, common_name="someone else"))
        self.assertEqual(said.json["peer_names"], ["prod-eu", "prod-us", "prod-asia.example"])

    async def test_a_name_in_another_case(self):
        said = await self.accepted(self.authority.issue("case", ["PROD-us"]))
        self.assertEqual(said.json["peer_names"], ["prod-us"])

    async def test_another_alpn_that_both_name(self):
        await self.accepted(self.prod_us, "--alpn", "mirror/9", alpn="mirror/9")


if __name__ == "__main__":
    unittest.main(verbosity=2)
