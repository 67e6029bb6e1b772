// Where reads need a token: it is asked for once and exchanged for a cookie that no script can read.

import { h, fill, here, say } from "./dom.js";
import { t } from "./words.js";

let dialog = null;

/** Asks for the token; `why` is the server's own word, which says what to set where no token could do. `done` is called once
 * there is a session. */
export function ask_token(why, done) {
  if (dialog) return;
  const field = h("input", { id: "token", type: "password", autocomplete: "current-password", required: true, "aria-describedby": "token-said" });
  const said = h("p", { id: "token-said", class: "bad-text", role: "alert" });
  const button = h("button", { type: "submit", class: "main" }, t("signin.go"));
  const form = h("form", { method: "dialog", onsubmit: (event) => {
    event.preventDefault();
    go();
  } }, h("h2", { id: "signin" }, t("signin")), h("p", null, t("signin.why")), h("p", { lang: "en" }, why),
  h("label", { for: "token" }, t("signin.token")), field, said, button);

  async function go() {
    button.disabled = true;
    say(said, "");
    try {
      const response = await fetch("session", { method: "POST", headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ token: field.value }), cache: "no-store", credentials: "same-origin" });
      if (response.status === 401) {
        say(said, t("signin.wrong"));
        field.select();
      } else if (!response.ok) {
        say(said, t("signin.failed", `HTTP ${response.status}`));
      } else {
        here.set("session", "1");
        close();
        done();
      }
    } catch (error) {
      say(said, t("signin.failed", error.message));
    }
    button.disabled = false;
  }

  dialog = h("dialog", { "aria-labelledby": "signin", oncancel: (event) => event.preventDefault() }, form);
  document.body.append(dialog);
  dialog.showModal();
}

function close() {
  dialog.close();
  dialog.remove();
  dialog = null;
}

/** A button that ends the session; nothing where there is none. */
export function sign_out(place) {
  fill(place, here.get("session") && h("button", { type: "button", onclick: async () => {
    await fetch("session", { method: "DELETE", cache: "no-store", credentials: "same-origin" }).catch(() => {});
    here.set("session", null);
    location.reload();
  } }, t("signout")));
}
