/** The API document as a page. */

import { $, el } from './dom.js';

const [version, about, operations, filter] = ['version', 'about', 'operations', 'filter'].map($);
const METHODS = ["get", "head", "post", "put", "patch", "delete"];

/** Text with `code` in it. */
function prose(text) {
  const pieces = String(text ?? "").split("`");
  return el("span", "", ...pieces.map((piece, at) => (at % 2 ? el("code", "", piece) : piece)));
}

function paragraphs(text) {
  return String(text ?? "").split(/\n\n/).map((part) => el("p", "", prose(part)));
}

function list(pairs) {
  return el("dl", "", ...pairs.flatMap(([term, text]) => [el("dt", "", term), el("dd", "", text)]));
}

function section(title, ...children) {
  return children.length ? [el("h3", "", title), ...children] : [];
}

function linked(reference) {
  const name = reference.split("/").pop();
  const link = el("a", "", el("code", "", name));
  link.href = "#schema-" + name;
  return link;
}

/** What a schema allows, in a line where it fits. */
function shape(schema) {
  if (!schema) return el("span");
  if (schema.$ref) return el("span", "", linked(schema.$ref), schema.description ? ": " : "", prose(schema.description));
  const { description, examples, ...rest } = schema;
  const known = ["type", "minimum", "maximum", "minLength", "maxLength", "pattern", "default", "const", "enum", "maxItems"];
  const simple = Object.keys(rest).every((key) => known.includes(key));
  const words = simple ? Object.entries(rest).map(([key, value]) =>
    key === "type" ? [value].flat().join(" or ") : `${key} ${JSON.stringify(value)}`).join(", ") : "";
  const body = simple ? el("code", "", words) : tree(rest);
  return el("span", "", body, description ? el("p", "", prose(description)) : "");
}

/** JSON whose references are links. */
function tree(value) {
  const text = JSON.stringify(value, null, 2) ?? "";
  const parts = text.split(/"(#\/components\/schemas\/\w+)"/);
  return el("pre", "", ...parts.map((part, at) => (at % 2 ? linked(part) : part)));
}

function content(types) {
  return Object.entries(types ?? {}).flatMap(([type, media]) => [
    el("p", "", el("code", "", type)), shape(media.schema),
    ...(media["x-frames"] ? [tree(media["x-frames"])] : []),
    ...Object.values(media.examples ?? {}).map(({ value }) =>
      el("pre", "", typeof value === "string" ? value : JSON.stringify(value, null, 2))),
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
    return [el("code", "", status), el("div", "", ...paragraphs(description),
      names.length ? el("p", "", "Headers: ", el("code", "", names.join(", "))) : "",
      ...(isProblem ? [] : content(types)))];
  });
  const made = el("details", "",
    el("summary", "", el("b", "", `${method.toUpperCase()} ${path} `), el("span", "", described.summary)),
    ...paragraphs(described.description),
    ...section("Who", el("p", "", el("code", "", scopes.join(" or ") || "anybody"))),
    ...(parameters.length ? section("Parameters", list(parameters.map((parameter) => [
      el("span", "", el("code", "", parameter.name), ` in ${parameter.in}${parameter.required ? ", required" : ""}`),
      el("div", "", prose(parameter.description), " ", shape(parameter.schema)),
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
    el("h2", "", tag.name), ...paragraphs(tag.description),
    ...Object.entries(api.paths).flatMap(([path, item]) => METHODS.filter((method) => item[method]?.tags.includes(tag.name))
      .map((method) => operation(api, path, method, item.parameters ?? [], item[method]))),
  ]);
  const schemas = Object.entries(api.components.schemas).map(([name, { description, ...schema }]) => {
    const described = el("details", "", el("summary", "", el("b", "", name)), ...paragraphs(description), tree(schema));
    described.id = "schema-" + name;
    return described;
  });
  operations.replaceChildren(...made, el("h2", "", "Schemas"), ...schemas);
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
  .catch((error) => operations.replaceChildren(el("p", "", `openapi.json cannot be read: ${error.message}`)));
