// Starts the page. It is the part that stands on all others; `loading` is in index.html.
import init from "./web.js";

// Where another part is missing, the page is about to be loaded again, or says what it lacks.
if (!loading.over) {
  try {
    await init();
    loading.done();
  } catch (error) {
    loading.failed(`The page's program does not start (${error}).`);
    throw error;
  }
}
