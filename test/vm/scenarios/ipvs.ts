/** One agent, and everything that IPVS listeners promise, part by part. */
import type { Inside } from "../../support/vm/inside.ts";
import { access } from "./ipvs/access.ts";
import { connections } from "./ipvs/connections.ts";
import { forwarding } from "./ipvs/forwarding.ts";
import { makeLab } from "./ipvs/lab.ts";
import { members } from "./ipvs/members.ts";
import { survival } from "./ipvs/survival.ts";

export default async (vm: Inside): Promise<void> => {
  const lab = await makeLab(vm);
  for (const part of [forwarding, members, access, survival, connections]) await part(vm, lab);
};
