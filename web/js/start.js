// Starts the page. Inline scripts are not allowed, so this line is a file.
import init from "./web.js";

await init();
