/** Certificates of tenants in tests: an authority of their own, and what it signs and revokes. */
import "reflect-metadata";
import { randomBytes, webcrypto } from "node:crypto";
import {
  BasicConstraintsExtension,
  cryptoProvider,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
  X509CrlGenerator,
} from "@peculiar/x509";

cryptoProvider.set(webcrypto);

const P256 = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const RSA = {
  name: "RSASSA-PKCS1-v1_5",
  hash: "SHA-256",
  publicExponent: new Uint8Array([1, 0, 1]),
  modulusLength: 2048,
} as const;
const HOUR = 3600 * 1000;

/** PEM texts, as a spec holds them. */
export interface Pair {
  readonly certificate: string;
  readonly private_key: string;
  readonly serial: string;
}

export class TestAuthority {
  readonly #certificate: X509Certificate;
  readonly #key: webcrypto.CryptoKey;

  private constructor(certificate: X509Certificate, key: webcrypto.CryptoKey) {
    this.#certificate = certificate;
    this.#key = key;
  }

  static async make(name: string): Promise<TestAuthority> {
    const keys = await webcrypto.subtle.generateKey(P256, true, ["sign", "verify"]);
    const certificate = await X509CertificateGenerator.createSelfSigned({
      name: `CN=${name}`,
      serialNumber: randomSerial(),
      notBefore: new Date(Date.now() - HOUR),
      notAfter: new Date(Date.now() + 24 * HOUR),
      signingAlgorithm: P256,
      keys,
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      ],
    });
    return new TestAuthority(certificate, keys.privateKey);
  }

  get certificate(): string {
    return pem(this.#certificate);
  }

  /**
   * A certificate for hosts, or for a client.
   * @param subject such as `CN=www.example.com`
   * @param hosts its alternative names
   */
  async issue(subject: string, hosts: readonly string[] = [], kind: "P-256" | "RSA" = "P-256"): Promise<Pair> {
    const algorithm = kind === "RSA" ? RSA : P256;
    const keys = (await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"])) as webcrypto.CryptoKeyPair;
    const certificate = await X509CertificateGenerator.create({
      subject,
      issuer: this.#certificate.subject,
      serialNumber: randomSerial(),
      notBefore: new Date(Date.now() - HOUR),
      notAfter: new Date(Date.now() + 24 * HOUR),
      signingAlgorithm: P256,
      signingKey: this.#key,
      publicKey: keys.publicKey,
      extensions: hosts.length === 0 ? [] : [new SubjectAlternativeNameExtension(hosts.map(generalName))],
    });
    const key = await webcrypto.subtle.exportKey("pkcs8", keys.privateKey);
    return {
      certificate: pem(certificate),
      private_key: `${PemConverter.encode(key, "PRIVATE KEY")}\n`,
      serial: certificate.serialNumber,
    };
  }

  /** A list of revoked certificates, which may be empty. */
  async revoke(...pairs: readonly Pair[]): Promise<string> {
    const crl = await X509CrlGenerator.create({
      issuer: this.#certificate.subject,
      thisUpdate: new Date(Date.now() - HOUR),
      nextUpdate: new Date(Date.now() + 24 * HOUR),
      entries: pairs.map(({ serial }) => ({ serialNumber: serial, revocationDate: new Date(Date.now() - HOUR) })),
      signingAlgorithm: P256,
      signingKey: this.#key,
    });
    return `${PemConverter.encode(crl.rawData, "X509 CRL")}\n`;
  }
}

function generalName(value: string) {
  return { type: "dns", value } as const;
}

function pem(certificate: X509Certificate): string {
  return `${certificate.toString("pem")}\n`;
}

function randomSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = 0x40 | ((bytes[0] ?? 0) & 0x3f);
  return bytes.toString("hex");
}
