/** Certificates that listeners and pools refer to: checked for whoever refers to them, before anything is changed. */
import { ciphersFault } from "../../../templates/spec.ts";
import { TlsError } from "../../certificates/tls.ts";
import type { Listener } from "../../model/listener.ts";
import type { Pool } from "../../model/pool.ts";
import type { TlsUse } from "../../model/tls-references.ts";
import { ApiError, invalidField } from "../errors.ts";
import type { Precheck } from "../services.ts";

/**
 * @param uses of one listener or pool, as they are to be
 * @throws {ApiError} 400 naming the attribute, the reference, and what is wrong with what is kept there
 */
export async function checkCertificates(uses: readonly TlsUse[], { services, caller, projectId, isGiven }: Precheck) {
  const { tls } = services;
  const isNew = (use: TlsUse) => isGiven(use.attribute);
  // a list of revoked certificates must be its authority's, whichever of the two is new
  const isPaired = (use: TlsUse) =>
    use.purpose !== "certificate" && uses.some((each) => each.purpose !== "certificate" && isNew(each));
  const toCheck = uses.filter((use) => isNew(use) || isPaired(use));
  if (tls === null || toCheck.length === 0) return;
  const reader = { caller, projectId: await projectId() };
  await tls.check(toCheck, reader).catch((error: unknown) => {
    if (!(error instanceof TlsError)) throw error;
    const { reason, use } = error;
    if (reason !== null) throw invalidField(use.attribute, use.reference, `${reason}.`);
    const why = `${use.attribute}: it does not exist, has no payload, or may not be read by you`;
    throw new ApiError(400, `Could not retrieve certificate: ${use.reference} (${why}).`);
  });
}

/** @throws {ApiError} 400 when none of the ciphers is of one of the versions */
export function checkCiphers({ tls_ciphers, tls_versions }: Pick<Listener | Pool, "tls_ciphers" | "tls_versions">) {
  const fault = ciphersFault({ ciphers: tls_ciphers, versions: tls_versions });
  if (fault !== null) throw invalidField("tls_ciphers", tls_ciphers, `It ${fault}.`);
}
