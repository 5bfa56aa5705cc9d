import { Component, type ReactNode } from 'react';

export class ErrorBoundary extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state: { error: Error | null } = { error: null };

  static getDerivedStateFromError(error: Error): { error: Error } {
    return { error };
  }

  override render(): ReactNode {
    const { error } = this.state;
    if (!error) return this.props.children;
    return (
      <main>
        <h1>Something went wrong on this page</h1>
        <p className="notice bad">{error.message}</p>
        <button onClick={() => location.reload()}>Reload</button>
      </main>
    );
  }
}
