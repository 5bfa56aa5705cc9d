import { useState, type FormEvent } from 'react';
import { signIn } from '../api/session.js';

export function SignInPage({ refused }: { refused: boolean }) {
  const [key, setKey] = useState('');
  const submit = (event: FormEvent) => {
    event.preventDefault();
    signIn(key);
  };
  return (
    <main className="narrow">
      <h1>
        <img src="/favicon.svg" alt="" width="32" height="32" /> Graft
      </h1>
      <form className="card" onSubmit={submit}>
        {refused && (
          <p className="notice bad" role="alert">
            This API key is not valid or has been revoked.
          </p>
        )}
        <label htmlFor="key">API key</label>
        <input
          id="key"
          type="password"
          autoComplete="off"
          autoFocus
          required
          value={key}
          onChange={(e) => setKey(e.target.value)}
          placeholder="sk-graft-…"
        />
        <p className="faint">
          Your first key is in <code>credentials.json</code> in Graft’s home folder. Create more
          with <code>graft keys create</code>. You stay signed in until you close the last Graft
          tab.
        </p>
        <button className="main">Sign in</button>
      </form>
    </main>
  );
}
