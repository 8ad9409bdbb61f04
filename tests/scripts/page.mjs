// The little of a page that the scripts read when they are loaded. Import it before them.
globalThis.document = { body: { dataset: { base: "", manages: "" } }, documentElement: {} };
globalThis.location = { search: "", pathname: "/monitor" };
