import t from "tap";
import { architecture } from "../../images/architectures.ts";
import { packageOf } from "../../images/debian/packages.ts";
import { imageOf, licencesOf, manifest } from "../../images/manifest.ts";

t.test("a package is known by its file's name", async (t) => {
  t.match(packageOf("libcap2_1%3a2.75-10+deb13u1+b3_amd64.deb"), {
    name: "libcap2",
    version: "1:2.75-10+deb13u1+b3",
    architecture: "amd64",
  });
});

t.test("licences are read from both forms of a copyright file", async (t) => {
  const machine =
    "Format: https://…\n\nFiles: *\nLicense: GPL-2+\n\nFiles: debian/*\nLicense: MIT\n\nLicense: GPL-2+\n text\n";
  t.strictSame(licencesOf(machine), ["GPL-2+", "MIT"]);
  t.strictSame(licencesOf("see `/usr/share/common-licenses/LGPL-2.1'.\n"), ["LGPL-2.1"]);
  t.strictSame(licencesOf("do as you like"), ["see the package's copyright file"]);
});

t.test(
  "a manifest names the image, its parts, every package and every npm module, and is always the same",
  async (t) => {
    const options = {
      architecture: architecture("x86_64"),
      suite: "trixie",
      time: 1_760_000_000,
      image: { name: "amphora.qcow2", sha256: "a".repeat(64) },
      parts: [{ name: "root.squashfs", sha256: "b".repeat(64) }],
      packages: [{ ...packageOf("haproxy_3.0.11-1+deb13u5_amd64.deb"), sha256: "c".repeat(64) }],
      copyrights: new Map([["haproxy", "License: GPL-2+\n"]]),
      modules: ["node_modules/zod"],
    };
    const text = await manifest(options);
    t.equal(await manifest(options), text);
    t.strictSame(imageOf(text), options.image);
    const { components, ...rest } = JSON.parse(text);
    t.match(rest, { bomFormat: "CycloneDX", specVersion: "1.6", metadata: { timestamp: "2025-10-09T08:53:20.000Z" } });
    t.match(components, [
      { type: "file", name: "root.squashfs" },
      {
        purl: "pkg:deb/debian/haproxy@3.0.11-1%2Bdeb13u5?arch=amd64&distro=trixie",
        licenses: [{ license: { name: "GPL-2+" } }],
        hashes: [{ alg: "SHA-256", content: "c".repeat(64) }],
      },
      { purl: /^pkg:npm\/zod@\d/, licenses: [{ license: { name: "MIT" } }] },
    ]);
  },
);
