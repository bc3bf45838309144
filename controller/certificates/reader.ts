/** Makes certificates of what is stored, and remembers those of late: a load balancer's are looked at again and again. */
import { createHash } from "node:crypto";
import type { Stored } from "../drivers/secrets.ts";
import { assemble, type Certificate } from "./certificate.ts";
import { CertificateError } from "./fault.ts";
import { certificatesOf, pemBlocks, pemText, privateKeyOf } from "./pem.ts";
import { Pkcs12 } from "./pkcs12.ts";

const MOST_REMEMBERED = 500;

/** The secrets of a certificate container, as Barbican names them. */
type Part = "certificate" | "intermediates" | "private_key" | "private_key_passphrase";

export class CertificateReader {
  readonly #pkcs12: Pkcs12;
  /** the latest last */
  readonly #known = new Map<string, Promise<Certificate>>();

  constructor(pkcs12 = new Pkcs12()) {
    this.#pkcs12 = pkcs12;
  }

  /**
   * The certificate, with its chain and key, of a secret (a PKCS #12 bundle, or PEM) or of a certificate container.
   * Whether it is valid now is another question.
   * @param project whose turn it takes, where reading takes its time
   * @throws {CertificateError}
   */
  read(stored: Stored, project = ""): Promise<Certificate> {
    const digest = digestOf(stored);
    const certificate = this.#known.get(digest) ?? this.#read(stored, project);
    this.#known.delete(digest);
    this.#known.set(digest, certificate);
    certificate.catch(() => this.#known.delete(digest));
    const [oldest = digest] = this.#known.keys();
    if (this.#known.size > MOST_REMEMBERED) this.#known.delete(oldest);
    return certificate;
  }

  close(): Promise<void> {
    return this.#pkcs12.close();
  }

  async #read(stored: Stored, project: string): Promise<Certificate> {
    if (stored.kind === "container") return fromContainer(stored.type, stored.parts);
    const text = Buffer.from(stored.payload).toString("latin1");
    if (text.includes("-----BEGIN ")) {
      const blocks = pemBlocks(text);
      return assemble(certificatesOf(blocks), privateKeyOf(blocks));
    }
    const { certificates, key } = await this.#pkcs12.open(stored.payload, project);
    return assemble(certificates, key);
  }
}

function fromContainer(type: string, parts: ReadonlyMap<string, Uint8Array>): Certificate {
  if (type !== "certificate") throw new CertificateError(`It is a ${type} container, not one of type certificate`);
  const text = (name: Part) => {
    const bytes = parts.get(name);
    return bytes === undefined ? null : pemText(bytes, `The container's ${name}`);
  };
  const blocksOf = (name: Part) => pemBlocks(text(name) ?? "");
  const [certificates, intermediates] = [
    certificatesOf(blocksOf("certificate")),
    certificatesOf(blocksOf("intermediates")),
  ];
  if (certificates.length === 0) throw new CertificateError("The container has no secret certificate with a PEM block");
  if (parts.has("intermediates") && intermediates.length === 0) {
    throw new CertificateError("The container's intermediates hold no PEM certificate");
  }
  const key = privateKeyOf(blocksOf("private_key"), text("private_key_passphrase"));
  if (key === null) throw new CertificateError("The container has no secret private_key with a PEM block");
  return assemble([...certificates, ...intermediates], key);
}

function digestOf(stored: Stored): string {
  const hash = createHash("sha256").update(stored.kind);
  const parts = stored.kind === "secret" ? [["payload", stored.payload] as const] : [...stored.parts];
  if (stored.kind === "container") hash.update(stored.type);
  for (const [name, bytes] of parts.toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    hash.update(`\0${name}\0${bytes.length}\0`).update(bytes);
  }
  return hash.digest("base64");
}
