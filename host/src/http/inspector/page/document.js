/** The API document as a page. */

import { $, el } from './dom.js';

const [version, about, operations, filter] = ['version', 'about', 'operations', 'filter'].map($);
const METHODS = ["get", "head", "post", "put", "patch", "delete"];

/** Without a class, and without what is not there. */
const element = (name, ...children) => el(name, '', ...children.filter((child) => child != null));

/** Text with `code` in it. */
function prose(text) {
  const pieces = String(text ?? "").split("`");
  return element("span", ...pieces.map((piece, at) => (at % 2 ? element("code", piece) : piece)));
}

function paragraphs(text) {
  return String(text ?? "").split(/\n\n/).map((part) => element("p", prose(part)));
}

function list(pairs) {
  return element("dl", ...pairs.flatMap(([term, text]) => [element("dt", term), element("dd", text)]));
}

function section(title, ...children) {
  return children.length ? [element("h3", title), ...children] : [];
}

function linked(reference) {
  const name = reference.split("/").pop();
  const link = element("a", element("code", name));
  link.href = "#schema-" + name;
  return link;
}

/** What a schema allows, in a line where it fits. */
function shape(schema) {
  if (!schema) return element("span");
  if (schema.$ref) return element("span", linked(schema.$ref), schema.description ? ": " : "", prose(schema.description));
  const { description, examples, ...rest } = schema;
  const known = ["type", "minimum", "maximum", "minLength", "maxLength", "pattern", "default", "const", "enum", "maxItems"];
  const simple = Object.keys(rest).every((key) => known.includes(key));
  const words = simple ? Object.entries(rest).map(([key, value]) =>
    key === "type" ? [value].flat().join(" or ") : `${key} ${JSON.stringify(value)}`).join(", ") : "";
  const body = simple ? element("code", words) : tree(rest);
  return element("span", body, description ? element("p", prose(description)) : null);
}

/** JSON whose references are links. */
function tree(value) {
  const text = JSON.stringify(value, null, 2) ?? "";
  const parts = text.split(/"(#\/components\/schemas\/\w+)"/);
  return element("pre", ...parts.map((part, at) => (at % 2 ? linked(part) : part)));
}

function content(types) {
  return Object.entries(types ?? {}).flatMap(([type, media]) => [
    element("p", element("code", type)), shape(media.schema),
    ...(media["x-frames"] ? [tree(media["x-frames"])] : []),
    ...Object.values(media.examples ?? {}).map(({ value }) =>
      element("pre", typeof value === "string" ? value : JSON.stringify(value, null, 2))),
  ]);
}

function operation(api, path, method, shared, described) {
  const resolve = (item) => (item.$ref ? item.$ref.slice(2).split("/").reduce((at, key) => at[key], api) : item);
  const parameters = [...shared, ...(described.parameters ?? [])].map(resolve);
  const scopes = (described.security ?? api.security).map((way) =>
    Object.entries(way).map(([name, roles]) => [name, ...roles].join(" ")).join(" and "));
  const responses = Object.entries(described.responses).map(([status, response]) => {
    const { description, headers, content: types } = resolve(response);
    const names = Object.keys(headers ?? {});
    const isProblem = types?.["application/problem+json"];
    return [element("code", status), element("div", ...paragraphs(description),
      names.length ? element("p", "Headers: ", element("code", names.join(", "))) : null,
      ...(isProblem ? [] : content(types)))];
  });
  const made = element("details",
    element("summary", element("b", `${method.toUpperCase()} ${path} `), element("span", described.summary)),
    ...paragraphs(described.description),
    ...section("Who", element("p", element("code", scopes.join(" or ") || "anybody"))),
    ...(parameters.length ? section("Parameters", list(parameters.map((parameter) => [
      element("span", element("code", parameter.name), ` in ${parameter.in}${parameter.required ? ", required" : ""}`),
      element("div", prose(parameter.description), " ", shape(parameter.schema)),
    ]))) : []),
    ...section("Body", ...(described.requestBody?.description ? paragraphs(described.requestBody.description) : []), ...content(described.requestBody?.content)),
    ...section("Answers", list(responses)));
  made.id = described.operationId;
  return made;
}

function show(api) {
  version.textContent = api.info.version;
  about.replaceChildren(...paragraphs(api.info.description));
  const made = api.tags.flatMap((tag) => [
    element("h2", tag.name), ...paragraphs(tag.description),
    ...Object.entries(api.paths).flatMap(([path, item]) => METHODS.filter((method) => item[method]?.tags.includes(tag.name))
      .map((method) => operation(api, path, method, item.parameters ?? [], item[method]))),
  ]);
  const schemas = Object.entries(api.components.schemas).map(([name, { description, ...schema }]) => {
    const described = element("details", element("summary", element("b", name)), ...paragraphs(description), tree(schema));
    described.id = "schema-" + name;
    return described;
  });
  operations.replaceChildren(...made, element("h2", "Schemas"), ...schemas);
  reveal();
}

/** Opens what the address names. */
function reveal() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named?.tagName === "DETAILS") {
    named.open = true;
    named.scrollIntoView();
  }
}

filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/);
  for (const one of operations.querySelectorAll("details")) {
    const text = one.textContent.toLowerCase();
    one.hidden = !words.every((word) => text.includes(word));
  }
});
addEventListener("hashchange", reveal);
fetch("/openapi.json")
  .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(`status ${answer.status}`))))
  .then(show)
  .catch((error) => operations.replaceChildren(element("p", `openapi.json cannot be read: ${error.message}`)));
