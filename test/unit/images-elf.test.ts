import { readFileSync } from "node:fs";
import fc from "fast-check";
import t from "tap";
import { needsOf } from "../../images/elf.ts";
import { copyPrograms } from "../../images/programs.ts";
import { FileTree } from "../../images/tree.ts";

const node = readFileSync(process.execPath);

t.test("a program's loader and libraries are read from its file", async (t) => {
  const needs = needsOf(node);
  t.match(needs?.loader, /^\/lib.*\/ld-linux-/);
  t.ok(needs?.libraries.includes("libc.so.6"));
  t.ok(needs?.libraries.includes("libstdc++.so.6"));
  t.equal(needsOf(Buffer.from("#!/bin/sh\n")), null);
});

t.test("no file makes it throw", async (t) => {
  const start = node.subarray(0, 4096);
  const damaged = fc
    .tuple(fc.nat(start.length), fc.array(fc.tuple(fc.nat(start.length - 1), fc.nat(255)), { maxLength: 8 }))
    .map(([length, changes]) => {
      const file = Buffer.from(start.subarray(0, length));
      for (const [at, byte] of changes) if (at < length) file[at] = byte;
      return file;
    });
  fc.assert(fc.property(damaged, (file) => void needsOf(file)));
  t.pass("and none did");
});

t.test("a library that no package brings is an error that names it", async (t) => {
  const from = new FileTree().file("usr/bin/node", node, 0o755);
  t.throws(() => copyPrograms(from, new FileTree(), ["usr/bin/node"], "x86_64-linux-gnu"), {
    name: "BuildError",
    message: /^usr\/bin\/node needs lib\S+, which is in none of the packages$/,
  });
  t.throws(
    () => copyPrograms(from, new FileTree(), ["usr/bin/absent"], "x86_64-linux-gnu"),
    /usr\/bin\/absent: is in none/,
  );
});
