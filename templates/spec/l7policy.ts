/** What is done with requests that match, in the order of the policies. */
import { z } from "zod";
import {
  COMPARE_TYPES,
  L7_ACTIONS,
  L7_RULE_TYPES,
  matchText,
  REDIRECT_HTTP_CODES,
  redirectUrl,
  token,
  uuid,
} from "../fields.ts";

const l7rule = z.strictObject({
  id: uuid,
  admin_state_up: z.boolean().default(true),
  type: z.enum(L7_RULE_TYPES),
  compare_type: z.enum(COMPARE_TYPES),
  key: token.nullable().default(null).describe("HEADER, COOKIE: the name; SSL_DN_FIELD: such as CN"),
  value: matchText.describe("SSL_CONN_HAS_CERT: True; SSL_VERIFY_RESULT: a number (verify(1)), 0 is success"),
  invert: z.boolean().default(false),
});

export const l7policy = z.strictObject({
  id: uuid,
  admin_state_up: z.boolean().default(true),
  action: z.enum(L7_ACTIONS),
  redirect_pool_id: uuid.nullable().default(null),
  redirect_url: redirectUrl.nullable().default(null),
  redirect_prefix: redirectUrl.nullable().default(null),
  redirect_http_code: z.literal(REDIRECT_HTTP_CODES).default(302),
  // the condition is one line of HAProxy's configuration, of 64 words at most
  rules: z
    .array(l7rule)
    .max(50)
    .default([])
    .describe("all must match; without any (that is up) the policy does nothing"),
});
