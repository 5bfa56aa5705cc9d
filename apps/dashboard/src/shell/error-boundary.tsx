import { Component, type ReactNode } from 'react';

export class ErrorBoundary extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state: { error: Error | null } = { error: null };

  static getDerivedStateFromError(error: Error): { error: Error } {
    return { error };
  }

  override render(): ReactNode {
    const { error } = this.state;
    return error ? <Broken error={error} /> : this.props.children;
  }
}

/** Replacement for a page that threw an error. */
export function Broken({ error }: { error: unknown }) {
  return (
    <main>
      <h1>Something went wrong on this page</h1>
      <p className="notice bad">{error instanceof Error ? error.message : String(error)}</p>
      <button onClick={() => location.reload()}>Reload</button>
    </main>
  );
}
