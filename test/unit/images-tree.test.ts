import t from "tap";
import { cpio } from "../../images/cpio.ts";
import { FileTree } from "../../images/tree.ts";

t.test("a path is followed through symbolic links, as the kernel does it", async (t) => {
  const tree = new FileTree().folder("usr/lib").link("lib", "usr/lib").file("lib/a.so.1", "library");
  tree.link("usr/lib/a.so", "a.so.1").link("etc/here", "/lib/a.so");
  t.ok(tree.has("usr/lib/a.so.1"), "what is put below a link lands where the link leads");
  t.equal(tree.resolve("etc/here"), "usr/lib/a.so.1");
  t.equal(tree.read("etc/here").toString(), "library");
  tree.link("round", "about").link("about", "round");
  t.equal(tree.resolve("round"), null, "a circle leads nowhere");
  t.equal(tree.resolve("etc/absent"), null);
  t.throws(() => tree.read("etc"), /etc: no such file/);
});

t.test("folders come before what is in them, and removing one removes that too", async (t) => {
  const tree = new FileTree().file("b/c/d", "").file("b-", "").folder("b", 0o700);
  t.strictSame(
    [...tree.entries()].map(([path]) => path),
    ["b", "b-", "b/c", "b/c/d"],
  );
  t.strictSame(tree.list("b"), ["c"]);
  t.match(tree.get("b"), { type: "folder", mode: 0o700 });
  tree.remove("b");
  t.strictSame(
    [...tree.entries()].map(([path]) => path),
    ["b-"],
  );
});

t.test("an archive has the kernel's form, and depends on nothing but the tree", async (t) => {
  const bytes = (tree: FileTree) => Buffer.concat([...cpio(tree)]);
  const one = bytes(new FileTree().file("init", "#!", 0o755).link("bin", "usr/bin").folder("dev"));
  const other = bytes(new FileTree().folder("dev").link("bin", "usr/bin").file("init", "#!", 0o755));
  t.ok(one.equals(other), "not on the order in which the tree was made");
  t.strictSame(members(one), [
    { name: "bin", mode: 0o120777, data: "usr/bin" },
    { name: "dev", mode: 0o040755, data: "" },
    { name: "init", mode: 0o100755, data: "#!" },
    { name: "TRAILER!!!", mode: 0, data: "" },
  ]);
});

/** Reads an archive as the kernel's documentation describes it (Documentation/driver-api/early-userspace/buffer-format.rst). */
function members(archive: Buffer): { name: string; mode: number; data: string }[] {
  const found = [];
  for (let at = 0; at < archive.length; ) {
    const field = (index: number) =>
      Number.parseInt(archive.toString("latin1", at + 6 + index * 8, at + 14 + index * 8), 16);
    const [mode, size, nameSize] = [field(1), field(6), field(11)];
    const data = round(at + 110 + nameSize);
    const name = archive.toString("utf8", at + 110, at + 110 + nameSize - 1);
    found.push({ name, mode, data: archive.toString("utf8", data, data + size) });
    at = round(data + size);
  }
  return found;
}

function round(position: number): number {
  return Math.ceil(position / 4) * 4;
}
