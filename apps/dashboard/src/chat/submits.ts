import type { KeyboardEvent } from 'react';

/** Whether a key press submits: Enter without Shift, and not to accept a suggestion of an input method. */
export const submits = ({ key, shiftKey, nativeEvent }: KeyboardEvent): boolean =>
  key === 'Enter' && !shiftKey && !nativeEvent.isComposing;
