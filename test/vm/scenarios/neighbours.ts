/** Two machines on one network: each says when it is up, and one looks for the other until that is switched off. */
import { execa } from "execa";
import { type Inside, until } from "../../support/vm/inside.ts";

export default async ({ args, check, say, hears }: Inside): Promise<void> => {
  const { own = "", other = "" } = args;
  await execa("ip", ["-batch", "-"], { input: `address add ${own}/24 dev eth0\nlink set eth0 up\n` });
  const answers = async () => (await execa("ping", ["-c1", "-W1", other], { reject: false })).exitCode === 0;
  await check(`${own} reaches ${other}`, () => until(`${other} answers`, answers));
  say("reached");
  await hears("the other is off");
  await check(`${own} does not reach ${other} any more`, async () => {
    if (await answers()) throw new Error(`${other} answers`);
  });
};
