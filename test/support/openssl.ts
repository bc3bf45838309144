/** Certificates, keys and bundles as the real openssl makes them, each in a file of a folder of the test's own. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import type { Scope } from "./scope.ts";

export interface Issued {
  /** PEM */
  readonly certificate: string;
  /** PEM, as openssl writes it by default: PKCS #8 */
  readonly key: string;
}

export interface IssueOptions {
  readonly key?: readonly string[];
  readonly authority?: Issued;
  readonly isAuthority?: boolean;
  /** counted from now; negative: in the past */
  readonly days?: { readonly from: number; readonly to: number };
  readonly digest?: string;
}

export const RSA = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
export const EC = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
export const ED25519 = ["genpkey", "-algorithm", "ED25519"];

const DAY = 24 * 3600 * 1000;
const LIMIT = 60_000;

export class Openssl {
  readonly #folder: string;
  #made = 0;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async make(t: Scope): Promise<Openssl> {
    const folder = await mkdtemp(join(tmpdir(), "amphora-openssl-"));
    t.teardown(() => rm(folder, { recursive: true, force: true }));
    return new Openssl(folder);
  }

  /** A file with that content. */
  async file(content: string | Uint8Array): Promise<string> {
    const path = join(this.#folder, `${++this.#made}`);
    await writeFile(path, content);
    return path;
  }

  /** What a command writes to its standard output. */
  async run(...args: readonly string[]): Promise<Buffer> {
    const { stdout } = await execa("openssl", [...args], { encoding: "buffer", timeout: LIMIT, cwd: this.#folder });
    return Buffer.from(stdout);
  }

  async key(kind: readonly string[] = EC): Promise<string> {
    return (await this.run(...kind)).toString();
  }

  async issue(subject: string, options: IssueOptions = {}): Promise<Issued> {
    const { authority, isAuthority = false, days = { from: -1, to: 365 }, digest = "sha256" } = options;
    const key = await this.key(options.key);
    const keyFile = await this.file(key);
    const request = await this.file(await this.run("req", "-new", "-key", keyFile, "-subj", subject));
    const [database, serial, output] = [await this.file(""), await this.file(""), await this.file("")];
    const config = await this.file(
      `[ca]\ndefault_ca=d\n[d]\ndatabase=${database}\nserial=${serial}\nnew_certs_dir=${this.#folder}\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n[x]\nbasicConstraints=critical,CA:${isAuthority ? "TRUE" : "FALSE"}\nsubjectKeyIdentifier=hash\n`,
    );
    const time = (offset: number) => `${new Date(Date.now() + offset * DAY).toISOString().replace(/[-:T]|\..*/g, "")}Z`;
    const signer =
      authority === undefined
        ? ["-selfsign", "-keyfile", keyFile]
        : ["-cert", await this.file(authority.certificate), "-keyfile", await this.file(authority.key)];
    await this.run(
      ...["ca", "-batch", "-notext", "-rand_serial", "-config", config, "-extensions", "x", "-md", digest],
      ...["-startdate", time(days.from), "-enddate", time(days.to), "-in", request, "-out", output],
      ...signer,
    );
    return { certificate: await readFile(output, "utf8"), key };
  }

  /** A PKCS #12 bundle. @param options of `openssl pkcs12`; the password is empty unless they name one */
  async bundle({ certificate, key }: Issued, chain = "", options: readonly string[] = []): Promise<Buffer> {
    const password = options.includes("-passout") ? [] : ["-passout", "pass:"];
    const files = ["-inkey", await this.file(key), "-in", await this.file(certificate + chain)];
    return this.run("pkcs12", "-export", ...files, ...password, ...options);
  }

  /** A list of revoked certificates, PEM. @param days from now until the next one is due */
  async revocations(authority: Issued, revoked: readonly Issued[] = [], days = 30): Promise<string> {
    const database = await this.file("");
    const config = await this.file(`[ca]\ndefault_ca=d\n[d]\ndatabase=${database}\ndefault_md=sha256\n`);
    const signer = ["-cert", await this.file(authority.certificate), "-keyfile", await this.file(authority.key)];
    for (const { certificate } of revoked) {
      await this.run("ca", "-config", config, ...signer, "-revoke", await this.file(certificate));
    }
    const until =
      days < 0
        ? ["-crl_lastupdate", this.#time(days - 1), "-crl_nextupdate", this.#time(days)]
        : ["-crldays", `${days}`];
    return (await this.run("ca", "-config", config, ...signer, "-gencrl", ...until)).toString();
  }

  #time(days: number): string {
    return `${new Date(Date.now() + days * DAY).toISOString().replace(/[-:T]|\..*/g, "")}Z`;
  }
}
