/** `npm run image`: builds an amphora image, or checks one. */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { messageOf } from "../agent/faults.ts";
import { ARCHITECTURES, architecture } from "./architectures.ts";
import { buildImage, FORMATS } from "./build.ts";
import { BuildError } from "./build-error.ts";
import { OUT } from "./built.ts";
import { machineMirrors, namedMirrors } from "./debian/mirrors.ts";
import { SUITES } from "./recipe.ts";

/** What is in an image, and some room for /var (MiB). */
const LEAST_SIZE = 256;

const HELP = `npm run image -- --arch ${ARCHITECTURES.map(({ name }) => name).join("|")} [OPTION...]
      Builds a bootable amphora image.
      --suite NAME            of Debian: ${SUITES.join(", ")} (default ${SUITES[0]})
      --mirror URL            Debian's packages (default: the mirror of this machine's apt);
                              a snapshot of the past is taken as it is
      --security-mirror URL   its security updates (default: URL-security)
      --out DIR               where the image and its manifest go (default dist)
      --format ${FORMATS.join("|")}       (default qcow2)
      --size SIZE             of the disk that an instance sees, such as 2G or 1500M (default 2G)
      --ssh-key FILE          an image for debugging, which this public key may enter
npm run image -- --check IMAGE
      Boots an image under QEMU, sends traffic through it, and says what passed.`;

async function main(args: string[]): Promise<void> {
  const { values } = parse(args);
  if (values.help) return print(HELP);
  if (values.check !== undefined) {
    const { checkImage } = await import("./check/check.ts");
    if (!(await checkImage(resolve(values.check), print))) throw new BuildError(`${values.check} does not pass`);
    return;
  }
  if (values.arch === undefined) throw new BuildError("--arch: say which architecture; --help tells more");
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => stop.abort(new BuildError(`the build was interrupted (${signal})`)));
  }
  await buildImage(
    {
      architecture: architecture(values.arch),
      suite: choose("--suite", values.suite, SUITES),
      mirrors: await mirrorsOf(values.mirror, values["security-mirror"]),
      out: resolve(values.out),
      format: choose("--format", values.format, FORMATS),
      size: mebibytes(values.size),
      sshKey: values["ssh-key"] === undefined ? null : await publicKey(values["ssh-key"]),
      signal: stop.signal,
    },
    print,
  );
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        arch: { type: "string" },
        suite: { type: "string", default: SUITES[0] },
        mirror: { type: "string" },
        "security-mirror": { type: "string" },
        out: { type: "string", default: OUT },
        format: { type: "string", default: "qcow2" },
        size: { type: "string", default: "2G" },
        "ssh-key": { type: "string" },
        check: { type: "string" },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    throw new BuildError(messageOf(error));
  }
}

function choose<T extends string>(option: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((each) => each === value);
  if (found === undefined) throw new BuildError(`${option}: unknown ${value}: choose ${allowed.join(" or ")}`);
  return found;
}

async function mirrorsOf(main: string | undefined, security: string | undefined) {
  for (const [option, url] of [
    ["--mirror", main],
    ["--security-mirror", security],
  ] as const) {
    if (url !== undefined && !/^https?:\/\/[^\s[\]]+$/.test(url)) {
      throw new BuildError(`${option}: ${JSON.stringify(url)} is no http or https URL`);
    }
  }
  if (main !== undefined) return namedMirrors(main, security);
  if (security !== undefined) throw new BuildError("--security-mirror: goes with --mirror");
  return machineMirrors();
}

function mebibytes(text: string): number {
  const [, number = "", unit] = /^(\d{1,6})([MG])$/.exec(text) ?? [];
  if (number === "") throw new BuildError(`--size: ${JSON.stringify(text)} is no size such as 2G or 1500M`);
  const size = Number(number) * (unit === "G" ? 1024 : 1);
  if (size < LEAST_SIZE) throw new BuildError(`--size: an image needs ${LEAST_SIZE}M or more`);
  return size;
}

async function publicKey(file: string): Promise<string> {
  const text = await readFile(file, "utf8").catch((error: Error) => {
    throw new BuildError(`--ssh-key: ${error.message}`);
  });
  const [line = "", ...more] = text.trim().split("\n");
  if (more.length > 0 || !/^(ssh-|ecdsa-|sk-)\S+ [A-Za-z0-9+/=]+( .*)?$/.test(line)) {
    throw new BuildError(`--ssh-key: ${file} is no public key of OpenSSH`);
  }
  return line;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

main(process.argv.slice(2)).then(
  () => process.exit(0),
  (error: unknown) => {
    const known = error instanceof BuildError;
    process.stderr.write(`amphora image: ${known ? error.message : error instanceof Error ? error.stack : error}\n`);
    process.exit(1);
  },
);
