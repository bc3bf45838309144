/** Authorities, and their lists of revoked certificates, as the real openssl makes them. */
import t from "tap";
import {
  checkIssuers,
  checkUpToDate,
  readAuthorities,
  readRevocations,
} from "../../controller/certificates/authority.ts";
import { listenerTls } from "../../templates/spec/tls.ts";
import { Openssl } from "../support/openssl.ts";

const openssl = await Openssl.make(t);
const root = await openssl.issue("/CN=root", { isAuthority: true });
const middle = await openssl.issue("/CN=middle", { isAuthority: true, authority: root });
const low = await openssl.issue("/CN=low", { isAuthority: true, authority: middle });

t.test("authorities are certificates, and their lists of revoked ones are signed by them", async (t) => {
  const authorities = readAuthorities(Buffer.from(`remark\n${root.certificate}${low.certificate}`));
  t.equal(authorities.certificates.length, 2);
  t.ok(listenerTls.shape.client_ca.safeParse(authorities.pem).success);
  t.throws(() => readAuthorities(Buffer.from(root.key)), { message: /^It holds no PEM certificate of an authority$/ });
  t.throws(() => readAuthorities(Buffer.from([0xff])), { message: "It is no PEM text" });
  for (const authority of [root, low]) {
    const revocations = readRevocations(Buffer.from(await openssl.revocations(authority, [])));
    t.ok(listenerTls.shape.client_crl.safeParse(revocations.pem).success);
    await checkIssuers(revocations, authorities);
    checkUpToDate(revocations, new Date());
  }
  const both = (await openssl.revocations(root)) + (await openssl.revocations(low));
  await checkIssuers(readRevocations(Buffer.from(both)), authorities);
  const foreign = readRevocations(Buffer.from((await openssl.revocations(root)) + (await openssl.revocations(middle))));
  await t.rejects(checkIssuers(foreign, authorities), { message: /not signed by the authority$/ });
  const late = readRevocations(Buffer.from(await openssl.revocations(root, [], -2)));
  t.throws(() => checkUpToDate(late, new Date()), { message: /^The list of revoked certificates expired on 20/ });
  t.throws(() => readRevocations(Buffer.from(root.certificate)), { message: /^It holds no PEM list of revoked/ });
  t.throws(() => readRevocations(Buffer.from("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----")), {
    message: /can't be read$/,
  });
});
