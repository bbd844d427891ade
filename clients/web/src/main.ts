// What the buttons of the page do.
import { byId } from "./dom";
import * as form from "./form";
import * as pages from "./pages";
import * as stream from "./stream";

form.onSubmit(list);
byId("stream-all", HTMLButtonElement).addEventListener("click", () => {
  pages.leave();
  stream.begin(form.read());
});
list();

function list(): void {
  stream.leave();
  void pages.list(form.read());
}
