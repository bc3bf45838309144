/** Attributes that many resources have, word for word the same. */
import { z } from "zod";
import { ALPN_PROTOCOLS, cipherList, tlsVersions as someVersions, uuid } from "../../templates/fields.ts";
import { flag, json, oneOf, optionalJson, optionalText, plainText, someOf, text } from "./attribute.ts";
import { parseReference } from "./secret-reference.ts";
import { OPERATING_STATUSES, PROVISIONING_STATUSES } from "./status.ts";

const NAME_LENGTH = 255;
/** As Keystone writes them: 32 hexadecimal digits, a UUID, or another short name. */
export const projectId = z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/, "must be a project's id");

export const id = text(uuid, { write: "never", doc: "The id, a UUID." });
export const name = text(plainText(NAME_LENGTH), { default: "", doc: "A name for people." });
export const description = text(plainText(NAME_LENGTH), { default: "", doc: "A description for people." });
export const adminStateUp = flag({ default: true, doc: "false takes it out of service without deleting it." });
export const project = text(projectId, { write: "create", default: "", doc: "The project that owns it." });
export const tags = json(
  z
    .array(plainText(NAME_LENGTH).min(1))
    .max(50)
    .refine((list) => new Set(list).size === list.length, "holds a tag twice"),
  { default: [], doc: "Words to find it by." },
);
export const createdAt = text(z.string(), { write: "never", doc: "When it was created, UTC." });
export const updatedAt = optionalText(z.string(), {
  write: "never",
  doc: "When it was last changed, UTC; null before.",
});
export const provisioningStatus = oneOf(PROVISIONING_STATUSES, {
  write: "never",
  doc: "How far the last change has been carried out.",
});
export const operatingStatus = oneOf(OPERATING_STATUSES, {
  write: "never",
  doc: "How it does, as the amphorae see it.",
});
/** The one provider, under both its names; `octavia` is the older one. */
export const PROVIDERS = ["amphora", "octavia"] as const;
export const provider = text(z.enum(PROVIDERS), { doc: "The provider; octavia is another name for amphora." });
/** A secret or container in the key manager: its URL, or its id. */
export const secretRef = plainText(NAME_LENGTH).refine(
  (text) => parseReference(text) !== null,
  "must be the URL of a secret or container, which ends in /secrets/UUID or /containers/UUID, or a UUID",
);
export const tlsCiphers = optionalText(cipherList, { doc: "Ciphers, OpenSSL format, joined by colons." });
export const tlsVersions = optionalJson(someVersions, {
  doc: "TLS versions, without a gap between the oldest and the newest.",
});
export const alpnProtocols = optionalJson(someOf(ALPN_PROTOCOLS), { doc: "ALPN protocols, the preferred one first." });
/** Wanted gone: kept until the amphorae have let go of it, whatever its status says meanwhile. */
export const doomed = flag({ write: "internal", default: false, doc: "To be removed." });
/** The load balancer that a part belongs to, where the part's parent decides it. */
export const partOf = text(uuid, { write: "internal", doc: "The load balancer it belongs to." });
