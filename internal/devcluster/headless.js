"use strict";
// The page on which a headless login is approved: sign in, look, decide.
const id = location.pathname.split("/").pop();
const $ = (name) => document.getElementById(name);
let token = "";

const say = (text) => { $("message").textContent = text; };

async function call(method, path, body) {
  const headers = { "Content-Type": "application/json" };
  if (token) headers.Authorization = "Bearer " + token;
  const r = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  const answer = await r.json();
  if (!r.ok) throw new Error(answer.error ? answer.error.message : "HTTP status " + r.status);
  return answer;
}

const bytes = (b64) => Uint8Array.from(atob(b64), (c) => c.charCodeAt(0));
const b64u = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)))
  .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

// touch has a security key answer the challenge.
async function touch(challenge) {
  const o = challenge.publicKey;
  const credential = await navigator.credentials.get({ publicKey: {
    challenge: bytes(o.challenge),
    timeout: o.timeout,
    rpId: o.rpId,
    userVerification: o.userVerification,
    allowCredentials: (o.allowCredentials || []).map((c) => ({ type: c.type, id: bytes(c.id) })),
  } });
  const r = credential.response;
  return {
    id: credential.id, type: credential.type, rawId: b64u(credential.rawId),
    response: {
      clientDataJSON: b64u(r.clientDataJSON), authenticatorData: b64u(r.authenticatorData), signature: b64u(r.signature),
      ...(r.userHandle ? { userHandle: b64u(r.userHandle) } : {}),
    },
  };
}

async function signIn() {
  const user = $("user").value, pass = $("password").value, code = $("code").value.trim();
  if (code) {
    return call("POST", "/webapi/sessions/web", { user, pass, second_factor_token: code });
  }
  const begun = await call("POST", "/webapi/mfa/login/begin", { user, pass });
  if (!begun.webauthn_challenge) {
    return call("POST", "/webapi/sessions/web", { user, pass, second_factor_token: "" });
  }
  say("Touch your security key to sign in");
  const answer = await touch(begun.webauthn_challenge);
  return call("POST", "/webapi/mfa/login/finishsession", { user, webauthnAssertionResponse: answer });
}

async function show() {
  say("Looking for the request…");
  const record = await call("GET", "/webapi/headless/" + id);
  $("who").textContent = record.user;
  $("from").textContent = record.client_ip_address;
  $("id").textContent = record.header.metadata.name;
  $("signin").hidden = true;
  $("request").hidden = false;
  say(record.state === 1 ? "" : "This request has been decided already.");
  $("approve").disabled = $("deny").disabled = record.state !== 1;
}

async function decide(action) {
  const body = { action, mfaResponse: {} };
  if (action === "accept") {
    const { webauthn_challenge: challenge } = await call("POST", "/webapi/headless/" + id + "/challenge", {});
    if (!challenge) throw new Error("approving takes a security key, and you have none registered here");
    say("Touch your security key to approve");
    body.mfaResponse = { webauthn_response: await touch(challenge) };
  }
  await call("PUT", "/webapi/headless/" + id, body);
  $("approve").disabled = $("deny").disabled = true;
  say(action === "accept" ? "Approved. Go on in the terminal." : "Denied.");
}

function attempt(f) {
  return async (event) => {
    event.preventDefault();
    try { await f(); } catch (err) { say(err.message); }
  };
}

$("signin").addEventListener("submit", attempt(async () => {
  token = (await signIn()).token;
  $("password").value = $("code").value = "";
  await show();
}));
$("approve").addEventListener("click", attempt(() => decide("accept")));
$("deny").addEventListener("click", attempt(() => decide("denied")));
