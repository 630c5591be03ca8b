// The addons of xterm.js that the first prompt does not wait for: each comes over the wire when it is first asked for.
// Rust cannot say `import()` itself under a policy that forbids eval.

export const addons = {
  /** Rendering by WebGL 2. */
  async webgl() {
    const { WebglAddon } = await import("./addon-webgl.mjs");
    return new WebglAddon();
  },

  /** Gives the WebGL contexts within an element back: the addon leaves that to whenever garbage is collected. */
  releaseWebgl(element) {
    for (const canvas of element.querySelectorAll("canvas")) {
      canvas.getContext("webgl2")?.getExtension("WEBGL_lose_context")?.loseContext();
    }
  },

  /** Search in a terminal's lines. */
  async search() {
    const { SearchAddon } = await import("./addon-search.mjs");
    return new SearchAddon();
  },

  /** Finds addresses; what becomes of them its three listeners decide. */
  async webLinks(activate, hover, leave) {
    const { WebLinksAddon } = await import("./addon-web-links.mjs");
    return new WebLinksAddon(activate, { hover, leave });
  },
};
