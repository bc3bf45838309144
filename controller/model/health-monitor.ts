import { z } from "zod";
import {
  checkRetries,
  checkSeconds,
  domainName,
  expectedCodes,
  HEALTH_MONITOR_TYPES,
  HTTP_METHODS,
  HTTP_VERSIONS,
  urlPath,
  uuid,
} from "../../templates/fields.ts";
import { integer, oneOf, optionalReal, optionalText, references, text } from "./attribute.ts";
import * as common from "./common.ts";
import { defineResource, type Row } from "./resource.ts";

export const healthMonitor = defineResource({
  name: "healthmonitor",
  plural: "healthmonitors",
  title: "Health Monitor",
  table: "health_monitors",
  quota: "health_monitor",
  deleteStatus: 202,
  attributes: {
    id: common.id,
    name: common.name,
    type: oneOf(HEALTH_MONITOR_TYPES, { write: "create", doc: "How members are checked." }),
    delay: integer(checkSeconds, { doc: "Seconds between two checks." }),
    timeout: integer(checkSeconds, { doc: "Seconds until a check has failed." }),
    max_retries: integer(checkRetries, { doc: "Successes in a row until a member is ONLINE." }),
    max_retries_down: integer(checkRetries, { default: 3, doc: "Failures in a row until a member is in ERROR." }),
    http_method: optionalText(z.enum(HTTP_METHODS), { doc: "HTTP only: the method of a check; GET unless set." }),
    url_path: optionalText(urlPath, { doc: "HTTP only: the path of a check; / unless set." }),
    expected_codes: optionalText(expectedCodes, { doc: "HTTP only: what a healthy member answers; 200 unless set." }),
    admin_state_up: common.adminStateUp,
    project_id: common.project,
    pools: references("Its pool."),
    provisioning_status: common.provisioningStatus,
    operating_status: common.operatingStatus,
    created_at: common.createdAt,
    updated_at: common.updatedAt,
    tags: common.tags,
    http_version: optionalReal(z.literal(HTTP_VERSIONS), { doc: "HTTP only: 1.0 or 1.1; null: 1.0." }),
    domain_name: optionalText(domainName, { doc: "HTTP 1.1 only: the Host header of a check." }),

    pool_id: text(uuid, { write: "create", doc: "The pool whose members it checks." }),
    loadbalancer_id: common.partOf,
    doomed: common.doomed,
  },
});

export type HealthMonitor = Row<typeof healthMonitor>;
