// Lets xterm.js live under `style-src 'self'`. It writes its colours into style elements and into style attributes,
// both of which that policy blocks when they come as text; the same rules given through CSSOM are allowed.
{
  const createElement = Document.prototype.createElement;
  Document.prototype.createElement = function (name, options) {
    if (String(name).toLowerCase() !== "style") return createElement.call(this, name, options);
    // Not a style element, for even an empty one is blocked: something inert that feeds a sheet of its own.
    const element = createElement.call(this, "template");
    const sheet = new CSSStyleSheet();
    document.adoptedStyleSheets.push(sheet);
    Object.defineProperty(element, "textContent", { set: (rules) => sheet.replaceSync(rules) });
    element.remove = () => {
      document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
      Element.prototype.remove.call(element);
    };
    return element;
  };

  const setAttribute = Element.prototype.setAttribute;
  Element.prototype.setAttribute = function (name, value) {
    if (name === "style") this.style.cssText = value;
    else setAttribute.call(this, name, value);
  };
}
