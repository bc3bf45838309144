/** What bodies and answers look like, from the declarations of the resources. */
import { z } from "zod";
import type { Attribute } from "../../model/attribute.ts";
import type { Resource } from "../../model/resource.ts";
import { isNested, nestedIn } from "../nesting.ts";

/** JSON Schema, draft 2020-12. */
export type Schema = Record<string, unknown>;

/** `listener` -> `Listener`, `availability_zone` -> `AvailabilityZone`. */
export function typeName({ name }: Resource): string {
  return name.replace(/(^|_)([a-z])/g, (_match, _before, letter: string) => letter.toUpperCase());
}

export function reference(name: string): Schema {
  return { $ref: `#/components/schemas/${name}` };
}

/** The schemas of a resource: as it is shown, as it is made, as it is changed. */
export function resourceSchemas(resource: Resource): Record<string, Schema> {
  const name = typeName(resource);
  return {
    [name]: shown(resource),
    [`${name}Create`]: written(resource, (attribute) => isWritable(attribute, "create")),
    [`${name}Update`]: { ...written(resource, ({ write }) => write === "always"), required: [] },
  };
}

function isWritable({ write }: Attribute, when: "create" | "always"): boolean {
  return write === "always" || write === when;
}

function shown(resource: Resource): Schema {
  const visible = Object.entries(resource.attributes).filter(([, { hidden }]) => !hidden);
  const properties: Record<string, Schema> = Object.fromEntries(
    visible.map(([name, attribute]) => [name, { ...valueSchema(attribute, "output"), description: attribute.doc }]),
  );
  if ("project_id" in resource.attributes) {
    properties.tenant_id = { type: "string", description: "Another name of project_id.", deprecated: true };
  }
  return { type: "object", properties };
}

function written(resource: Resource, writable: (attribute: Attribute) => boolean): Schema {
  const attributes = Object.entries(resource.attributes).filter(([, attribute]) => writable(attribute));
  const nested = nestedIn(resource).map(([key, { rules, many }]) => {
    const inner = reference(`${typeName(rules.resource)}Create`);
    return [key, many ? { type: "array", items: inner } : inner] as const;
  });
  return {
    type: "object",
    properties: {
      ...Object.fromEntries(attributes.map(([name, attribute]) => [name, inputSchema(attribute)])),
      ...Object.fromEntries(nested),
    },
    required: attributes.flatMap(([name, { required }]) => (required && !isNested(resource, name) ? [name] : [])),
    additionalProperties: false,
  };
}

function inputSchema(attribute: Attribute): Schema {
  const { doc, default: byDefault, nullable } = attribute;
  const value = valueSchema(attribute, "input");
  // null sets back what has a default
  const open = byDefault !== undefined && !nullable ? { anyOf: [value, { type: "null" }] } : value;
  return { ...open, description: doc, ...(byDefault === undefined ? {} : { default: byDefault }) };
}

function valueSchema({ schema, column }: Attribute, io: "input" | "output"): Schema {
  const options = { unrepresentable: "any", io: "output", target: "draft-2020-12" } as const;
  const { $schema: _, ...plain } = z.toJSONSchema(schema, options);
  // clients send whole numbers as decimal strings too
  if (io === "input" && column === "integer") return { anyOf: [plain, { type: "string", pattern: "^-?\\d{1,15}$" }] };
  return withoutRequired(plain);
}

/** What has a default inside a value is always there in answers, but need not be in bodies: neither is told here. */
function withoutRequired(schema: Schema): Schema {
  const { additionalProperties: _, ...rest } = schema;
  return rest;
}
