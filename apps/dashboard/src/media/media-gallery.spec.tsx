// @vitest-environment happy-dom
import type { FileRecordObject } from '@graft/contracts';
import { cleanup, render } from '@testing-library/react';
import { afterEach, expect, it } from 'vitest';
import { galleryOf, MediaGallery } from './media-gallery.js';

afterEach(cleanup);

const at = (line: number, record: FileRecordObject['record']): FileRecordObject => ({
  line,
  record,
  problem: record === null ? 'not valid JSON' : null,
  text: null,
});
const PNG = 'data:image/png;base64,AQID';
const WAV = 'data:audio/wav;base64,AQID';

it('shows images and audio with their targets', () => {
  const items = galleryOf([
    at(1, { image: PNG, label: 'cat' }),
    at(2, { image: PNG, labels: ['dog', 'wet'] }),
    at(3, { audio: WAV, text: 'yes' }),
  ]);
  const { container } = render(<MediaGallery items={items!} />);
  const named = [...container.querySelectorAll('img, audio')];
  expect(named.map((one) => one.getAttribute('alt') ?? one.getAttribute('aria-label'))).toEqual([
    'cat, line 1',
    'dog, wet, line 2',
    'yes, line 3',
  ]);
  expect(named.map((one) => one.getAttribute('src'))).toEqual([PNG, PNG, WAV]);
  expect([...container.querySelectorAll('.answer')].map((one) => one.textContent)).toEqual([
    'cat',
    'dog',
    'wet',
    'yes',
  ]);
});

it('leaves other examples to the list', () => {
  expect(galleryOf([])).toBeNull();
  expect(galleryOf([at(1, { image: PNG, label: 'a' }), at(2, { text: 'b' })])).toBeNull();
  expect(galleryOf([at(1, null)])).toBeNull();
});
