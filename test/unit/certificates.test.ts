/** Certificates as people make them: with the real openssl, in every kind of file, and with everything that goes wrong. */
import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import fc from "fast-check";
import t from "tap";
import { type Certificate, checkValidity } from "../../controller/certificates/certificate.ts";
import { CertificateError } from "../../controller/certificates/fault.ts";
import { Pkcs12 } from "../../controller/certificates/pkcs12.ts";
import { CertificateReader } from "../../controller/certificates/reader.ts";
import type { Stored } from "../../controller/drivers/secrets.ts";
import { certificate as inSpec } from "../../templates/spec/tls.ts";
import { EC, ED25519, type Issued, Openssl, RSA } from "../support/openssl.ts";

const reader = new CertificateReader();
t.teardown(() => reader.close());
const openssl = await Openssl.make(t);
const root = await openssl.issue("/CN=root", { isAuthority: true });
const middle = await openssl.issue("/CN=middle", { isAuthority: true, authority: root });
const low = await openssl.issue("/CN=low", { isAuthority: true, authority: middle });
const server = await openssl.issue("/CN=server", { authority: low, key: RSA });
const other = await openssl.issue("/CN=other", { authority: low });

const secret = (payload: string | Uint8Array): Stored => ({
  kind: "secret",
  version: "1",
  payload: Buffer.from(payload),
});
const container = (parts: Record<string, string>, type = "certificate"): Stored => ({
  kind: "container",
  version: "1",
  type,
  parts: new Map(Object.entries(parts).map(([name, text]) => [name, Buffer.from(text)])),
});

/** The common names of a chain, and that the key is the first one's. */
function names({ certificate, private_key }: Certificate): string[] {
  const chain = certificate
    .match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----/g)
    ?.map((each) => new X509Certificate(each));
  t.ok(chain?.[0]?.checkPrivateKey(createPrivateKey(private_key)), "the key belongs to the first certificate");
  t.ok(
    inSpec.safeParse({ id: "00000000-0000-4000-8000-000000000000", certificate, private_key }).success,
    "as in a spec",
  );
  return (chain ?? []).map(({ subject }) => subject.replace("CN=", ""));
}

async function fault(stored: Stored): Promise<string> {
  return reader.read(stored).then(
    ({ certificate }) => `no fault: ${certificate}`,
    (error: unknown) => {
      if (error instanceof CertificateError) return error.message;
      throw error;
    },
  );
}

t.test("a PKCS #12 bundle is read, whatever made it", async (t) => {
  const kinds: Record<string, readonly string[]> = {
    "OpenSSL 3": [],
    "OpenSSL 1 (RC2 and 3DES)": ["-legacy"],
    "3DES": ["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"],
    "AES-128": ["-keypbe", "AES-128-CBC", "-certpbe", "AES-128-CBC", "-macalg", "sha512"],
    "a clear certificate": ["-certpbe", "NONE"],
    "nothing encrypted": ["-keypbe", "NONE", "-certpbe", "NONE"],
    "no MAC": ["-keypbe", "NONE", "-certpbe", "NONE", "-nomac"],
    "a friendly name": ["-name", "my server"],
    "many iterations": ["-iter", "20000"],
  };
  const elliptic = await openssl.issue("/CN=elliptic", { authority: low, key: EC });
  const edwards = await openssl.issue("/CN=edwards", { authority: low, key: ED25519 });
  for (const [kind, options] of Object.entries(kinds)) {
    for (const [issued, name] of [
      [server, "server"],
      [elliptic, "elliptic"],
      [edwards, "edwards"],
    ] as const) {
      const bundle = await openssl.bundle(issued, low.certificate, options);
      t.strictSame(names(await reader.read(secret(bundle))), [name, "low"], `${kind}, ${name}`);
    }
  }
});

t.test("a chain is put in order, and nothing of it is lost", async (t) => {
  const all = [root, middle, low, other].map(({ certificate }) => certificate);
  const chain = ["server", "low", "middle", "root", "other"];
  for (const order of [all, all.toReversed(), [all[2], all[3], all[0], all[1], all[2]]]) {
    const rest = order.join("");
    t.strictSame(names(await reader.read(secret(rest + server.certificate + server.key))), chain, "PEM");
    t.strictSame(names(await reader.read(secret(await openssl.bundle(server, rest)))), chain, "PKCS #12");
    const parts = { certificate: server.certificate, private_key: server.key, intermediates: rest };
    t.strictSame(names(await reader.read(container(parts))), chain, "container");
  }
});

t.test("PEM is read with everything that stands around it", async (t) => {
  const traditional = (await openssl.run("rsa", "-traditional", "-in", await openssl.file(server.key))).toString();
  t.match(traditional, "BEGIN RSA PRIVATE KEY");
  const curve = await openssl.key(["ecparam", "-name", "prime256v1", "-genkey"]);
  t.match(curve, /BEGIN EC PARAMETERS[\s\S]*BEGIN EC PRIVATE KEY/);
  const own = await openssl.run("req", "-x509", "-key", await openssl.file(curve), "-subj", "/CN=curve");
  const remarks = "Bag Attributes\n    friendlyName: my server\nsubject=CN = server\n\n";
  t.strictSame(names(await reader.read(secret(traditional + remarks + server.certificate))), ["server"]);
  t.strictSame(names(await reader.read(secret(curve + own))), ["curve"]);
  const windows = (server.certificate + server.key).replaceAll("\n", "\r\n");
  t.strictSame(names(await reader.read(secret(windows))), ["server"], "lines of Windows");
  const text = await openssl.run("x509", "-text", "-in", await openssl.file(server.certificate));
  t.strictSame(names(await reader.read(secret(text + server.key))), ["server"], "openssl x509 -text");
  const single = (server.certificate + server.key).replace(/([A-Za-z0-9+/=])\n(?=[A-Za-z0-9+/=])/g, "$1");
  t.strictSame(names(await reader.read(secret(single))), ["server"], "without line breaks");
});

t.test("a certificate container is its secrets", async (t) => {
  const encrypt = async (options: readonly string[]) =>
    (
      await openssl.run("pkcs8", "-topk8", "-in", await openssl.file(server.key), "-passout", "pass:tiger", ...options)
    ).toString();
  const [modern, legacy] = [await encrypt([]), await encrypt(["-v1", "PBE-SHA1-3DES"])];
  const traditional = (
    await openssl.run("rsa", "-traditional", "-aes128", "-passout", "pass:tiger", "-in", await openssl.file(server.key))
  ).toString();
  for (const private_key of [modern, legacy, traditional]) {
    const parts = { certificate: server.certificate, private_key };
    const opened = await reader.read(container({ ...parts, private_key_passphrase: "tiger" }));
    t.strictSame(names(opened), ["server"]);
    t.equal(
      await fault(container({ ...parts, private_key_passphrase: "lion" })),
      "The private key can't be opened with the private_key_passphrase",
    );
    t.match(await fault(container(parts)), /^The private key is protected by a password/);
  }
  const plain = { certificate: server.certificate, private_key: server.key };
  t.strictSame(
    names(await reader.read(container({ ...plain, private_key_passphrase: "tiger" }))),
    ["server"],
    "one too many",
  );
  const pkcs7 = await openssl.run(
    "crl2pkcs7",
    "-nocrl",
    "-certfile",
    await openssl.file(middle.certificate + low.certificate),
  );
  t.strictSame(names(await reader.read(container({ ...plain, intermediates: pkcs7.toString() }))), [
    "server",
    "low",
    "middle",
  ]);
  t.match(await fault(container(plain, "generic")), "It is a generic container, not one of type certificate");
  t.match(await fault(container({ private_key: server.key })), "no secret certificate with a PEM block");
  t.match(await fault(container({ certificate: server.certificate })), "no secret private_key with a PEM block");
  t.match(await fault(container({ ...plain, intermediates: "x" })), "intermediates hold no PEM certificate");
});

t.test("what can't be used is told, and why", async (t) => {
  const locked = await openssl.bundle(server, "", ["-passout", "pass:tiger"]);
  const lockedLegacy = await openssl.bundle(server, "", ["-legacy", "-passout", "pass:tiger"]);
  const lockedKey = await openssl.run(
    "pkcs8",
    "-topk8",
    "-in",
    await openssl.file(server.key),
    "-passout",
    "pass:tiger",
  );
  const onlyCertificates = await openssl.run(
    "pkcs12",
    "-export",
    "-nokeys",
    "-in",
    await openssl.file(server.certificate),
    "-passout",
    "pass:",
  );
  const small = await openssl.issue("/CN=small", { key: ["genrsa", "1024"], authority: low });
  const weak = await openssl.issue("/CN=weak", { digest: "sha1", authority: low });
  const dsa = await openssl.key(["dsaparam", "-genkey", "-noout", "2048"]);
  const bundle = await openssl.bundle(server);
  const cases: [stored: Stored, reason: RegExp][] = [
    [secret(locked), /^The PKCS #12 bundle is protected by a password, or damaged/],
    [secret(lockedLegacy), /^The PKCS #12 bundle is protected by a password, or damaged/],
    [secret(server.certificate + lockedKey), /^The private key is protected by a password/],
    [secret(server.certificate + other.key), /^The private key belongs to another certificate$/],
    [container({ certificate: server.certificate, private_key: other.key }), /^The private key belongs to another/],
    [secret(onlyCertificates), /^It holds no private key$/],
    [secret(server.certificate), /^It holds no private key$/],
    [secret(server.key), /^It holds no certificate$/],
    [secret(server.certificate + server.key + other.key), /^It holds more than one private key$/],
    [secret(small.certificate + small.key), /^OpenSSL refuses the certificate: ee key too small$/],
    [
      secret(weak.certificate + weak.key),
      /^OpenSSL refuses the certificate: signed with ecdsa-with-SHA1, which is too weak$/,
    ],
    [secret(server.certificate + dsa), /^A dsa key can't be used for TLS/],
    [secret("hello"), /^It is neither PEM nor a PKCS #12 bundle that can be read$/],
    [secret(""), /^It is neither PEM nor a PKCS #12 bundle that can be read$/],
    [secret(bundle.subarray(0, 500)), /^It is neither PEM nor a PKCS #12 bundle|protected by a password, or damaged/],
    [secret("-----BEGIN CERTIFICATE-----\nAAAA"), /^The PEM block "CERTIFICATE" has no end$/],
    [
      secret("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
      /^It holds a certificate that can't be read$/,
    ],
    [
      secret(`${server.certificate}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n`),
      /^The private key can't be read$/,
    ],
  ];
  for (const [stored, reason] of cases) t.match(await fault(stored), reason);
});

t.test("what hashes its password too often is refused before that is done", async (t) => {
  const [some, reason] = [await openssl.file(server.key), /hashes its password more than 500000 times/];
  for (const options of [[], ["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES"], ["-nomac"]]) {
    t.match(await fault(secret(await openssl.bundle(server, "", ["-iter", "600000", ...options]))), reason);
  }
  const keyOf = async (options: readonly string[]) => {
    const key = await openssl.run("pkcs8", "-topk8", "-in", some, "-passout", "pass:tiger", ...options);
    return container({ certificate: server.certificate, private_key: key.toString(), private_key_passphrase: "tiger" });
  };
  for (const options of [
    ["-iter", "600000"],
    ["-v1", "PBE-SHA1-3DES", "-iter", "600000"],
    ["-scrypt", "-scrypt_N", "1024", "-scrypt_r", "1", "-scrypt_p", "1000"],
  ]) {
    t.match(await fault(await keyOf(options)), reason);
  }
  for (const options of [["-iter", "100000"], ["-scrypt"]]) {
    t.strictSame(names(await reader.read(await keyOf(options))), ["server"]);
  }
});

t.test("a bundle that takes too long is given up, and the next one has its turn", async (t) => {
  const bundle = await openssl.bundle(server, "", ["-iter", "100000"]);
  const impatient = new Pkcs12(1);
  t.teardown(() => impatient.close());
  for (const project of ["one", "one", "another"]) {
    await t.rejects(impatient.open(bundle, project), {
      message: /^The PKCS #12 bundle can't be opened within 0.001 s/,
    });
  }
});

t.test("no bytes do more than be refused", async () => {
  const bundle = await openssl.bundle(server, low.certificate);
  const pem = Buffer.from(server.certificate + server.key);
  const damaged = fc
    .tuple(fc.constantFrom(bundle, pem), fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 8 }))
    .map(([whole, at, bytes]) =>
      Buffer.concat([whole.subarray(0, at % whole.length), bytes, whole.subarray((at % whole.length) + bytes.length)]),
    );
  await fc.assert(
    fc.asyncProperty(fc.oneof(damaged, fc.uint8Array({ maxLength: 2000 })), async (bytes) => {
      const message = await fault(secret(bytes));
      return message.length > 0 && !message.includes("PRIVATE KEY-----");
    }),
    { numRuns: 150 },
  );
});

t.test("a certificate is valid between its dates", async (t) => {
  const at = (days: { from: number; to: number }) => openssl.issue("/CN=x", { days, authority: low });
  const read = async ({ certificate, key }: Issued) => reader.read(secret(certificate + key));
  const now = new Date();
  const [past, future, present] = [
    await read(await at({ from: -9, to: -1 })),
    await read(await at({ from: 1, to: 9 })),
    await read(server),
  ];
  t.throws(() => checkValidity(past, now), { message: /^The certificate expired on 20\d\d-/ });
  t.throws(() => checkValidity(future, now), { message: /^The certificate is not valid before 20\d\d-/ });
  t.doesNotThrow(() => checkValidity(present, now));
});

t.test("random bytes in PEM blocks are refused", async (t) => {
  const block = (label: string) =>
    `-----BEGIN ${label}-----\n${randomBytes(300).toString("base64")}\n-----END ${label}-----\n`;
  t.match(await fault(secret(block("PKCS7"))), "PKCS #7 block that can't be read");
  t.match(await fault(secret(block("CERTIFICATE"))), "can't be read");
});
