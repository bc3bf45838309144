/** A certificate authority of a deployment: it alone says who is a controller and who is which amphora. */
// @peculiar/x509 needs it in place first
import "reflect-metadata";
import { randomBytes, webcrypto } from "node:crypto";
import {
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { agentName, type CertificateBundle, CONTROLLER_NAME } from "../../agent/protocol.ts";

cryptoProvider.set(webcrypto);

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY = 24 * 3600 * 1000;
const CA_LIFE = 3650 * DAY;
/** Clocks of amphorae may be a little behind. */
const BACKDATE = 3600 * 1000;

export interface Identity {
  readonly bundle: CertificateBundle;
  readonly expires: Date;
}

/** An authority as text: certificate and key, PEM. */
export interface AuthorityText {
  readonly certificate: string;
  readonly key: string;
}

export class Authority {
  readonly #certificate: X509Certificate;
  readonly #key: webcrypto.CryptoKey;

  private constructor(certificate: X509Certificate, key: webcrypto.CryptoKey) {
    this.#certificate = certificate;
    this.#key = key;
  }

  /** A new one. */
  static async make(): Promise<Authority> {
    const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
    const certificate = await X509CertificateGenerator.createSelfSigned({
      // of several in one list each has a name of its own: that is how the issuer of a certificate is found
      name: `CN=Amphora authority ${randomBytes(4).toString("hex")}`,
      serialNumber: serialNumber(),
      notBefore: new Date(Date.now() - BACKDATE),
      notAfter: new Date(Date.now() + CA_LIFE),
      signingAlgorithm: ALGORITHM,
      keys,
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      ],
    });
    return new Authority(certificate, keys.privateKey);
  }

  static async from({ certificate, key }: AuthorityText): Promise<Authority> {
    return new Authority(new X509Certificate(certificate), await importKey(key));
  }

  async text(): Promise<AuthorityText> {
    return { certificate: this.certificate, key: await exportKey(this.#key) };
  }

  /** The authority's certificate, PEM. */
  get certificate(): string {
    return this.#certificate.toString("pem");
  }

  get expires(): Date {
    return this.#certificate.notAfter;
  }

  /** What a controller shows to agents. @param trusted the authorities that it believes, PEM */
  issueController(days = 365, trusted = this.certificate): Promise<Identity> {
    return this.#issue(CONTROLLER_NAME, ExtendedKeyUsage.clientAuth, days, trusted);
  }

  /** What one amphora's agent shows to controllers; good for nothing else. */
  issueAmphora(amphoraId: string, days: number, trusted = this.certificate): Promise<Identity> {
    return this.#issue(agentName(amphoraId), ExtendedKeyUsage.serverAuth, days, trusted);
  }

  async #issue(name: string, usage: ExtendedKeyUsage, days: number, trusted: string): Promise<Identity> {
    const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
    const expires = new Date(Date.now() + days * DAY);
    const certificate = await X509CertificateGenerator.create({
      subject: `CN=${name}`,
      issuer: this.#certificate.subject,
      serialNumber: serialNumber(),
      notBefore: new Date(Date.now() - BACKDATE),
      notAfter: expires,
      signingAlgorithm: ALGORITHM,
      publicKey: keys.publicKey,
      signingKey: this.#key,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([usage], true),
        new SubjectAlternativeNameExtension([{ type: "dns", value: name }]),
      ],
    });
    return {
      bundle: {
        certificate: certificate.toString("pem"),
        key: await exportKey(keys.privateKey),
        ca: trusted,
      },
      expires,
    };
  }
}

function serialNumber(): string {
  // positive, and 16 bytes long in every case (RFC 5280, 4.1.2.2)
  const bytes = webcrypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return Buffer.from(bytes).toString("hex");
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return PemConverter.encode(await webcrypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY");
}

function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey("pkcs8", PemConverter.decodeFirst(pem), ALGORITHM, true, ["sign"]);
}
