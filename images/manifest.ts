/** What an image is made of, as a software bill of materials (CycloneDX 1.6, JSON). */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import packageJson from "../package.json" with { type: "json" };
import type { Architecture } from "./architectures.ts";
import type { Package } from "./debian/packages.ts";

const ROOT = join(import.meta.dirname, "..");

export interface Part {
  readonly name: string;
  readonly sha256: string;
}

export interface ManifestOptions {
  readonly architecture: Architecture;
  readonly suite: string;
  /** seconds since 1970 */
  readonly time: number;
  readonly image: Part;
  readonly parts: readonly Part[];
  readonly packages: readonly (Package & { readonly sha256: string })[];
  readonly copyrights: ReadonlyMap<string, string>;
  /** folders of npm packages, such as node_modules/zod */
  readonly modules: readonly string[];
}

/** The same image, the same text. */
export async function manifest(options: ManifestOptions): Promise<string> {
  const { architecture, suite, time, image, parts, packages, copyrights } = options;
  const debian = packages.map((each) => ({
    type: "library",
    name: each.name,
    version: each.version,
    purl: `pkg:deb/debian/${encodeURIComponent(each.name)}@${encodeURIComponent(each.version)}?arch=${each.architecture}&distro=${suite}`,
    licenses: licencesOf(copyrights.get(each.name) ?? "").map((name) => ({ license: { name } })),
    hashes: [sha256(each.sha256)],
  }));
  const document = {
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      timestamp: new Date(time * 1000).toISOString(),
      component: {
        type: "operating-system",
        name: image.name,
        version: packageJson.version,
        description: `amphora image, ${architecture.name}, Debian ${suite}`,
        hashes: [sha256(image.sha256)],
      },
    },
    components: [
      ...parts.map(({ name, sha256: content }) => ({ type: "file", name, hashes: [sha256(content)] })),
      ...debian,
      ...(await npmComponents(options.modules)),
    ],
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** Only this much of a manifest is needed to see whether an image is the one that it speaks of. */
export function imageOf(text: string): Part {
  const { metadata } = JSON.parse(text) as { metadata: { component: { name: string; hashes: { content: string }[] } } };
  return { name: metadata.component.name, sha256: metadata.component.hashes[0]?.content ?? "" };
}

function sha256(content: string): { alg: "SHA-256"; content: string } {
  return { alg: "SHA-256", content };
}

/**
 * The licences that a package's copyright file names: by the fields of the machine-readable form (DEP-5), else by the
 * texts in /usr/share/common-licenses that it points to.
 */
export function licencesOf(copyright: string): string[] {
  const fields = [...copyright.matchAll(/^License:[ \t]*(\S.*)$/gm)].map(([, name = ""]) => name.trim());
  const texts = [...copyright.matchAll(/\/usr\/share\/common-licenses\/([A-Za-z][\w.-]*\w)/g)].map(
    ([, name = ""]) => name,
  );
  const found = fields.length > 0 ? fields : texts;
  return found.length > 0 ? [...new Set(found)].sort() : ["see the package's copyright file"];
}

async function npmComponents(modules: readonly string[]): Promise<object[]> {
  const lock = JSON.parse(await readFile(join(ROOT, "package-lock.json"), "utf8")) as {
    packages: Record<string, { version: string; license?: string }>;
  };
  return modules.map((path) => {
    const { version, license } = lock.packages[path] ?? { version: "unknown" };
    const name = path.replace(/^.*node_modules\//, "");
    return {
      type: "library",
      name,
      version,
      purl: `pkg:npm/${name.replace("@", "%40")}@${version}`,
      licenses: [{ license: { name: license ?? "see the package" } }],
    };
  });
}
