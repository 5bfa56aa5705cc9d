import { expect, it } from 'vitest';
import { placeText } from './queue-place.js';

it('returns the position and expected start of a job', () => {
  const place = {
    queue_position: 3,
    queue_length: 12,
    estimated_start: 1240,
    estimated_start_range: [1120, 1490],
  } as const;
  expect(placeText(place, 1000)).toBe('3rd of 12, starts in about 4 min (2 min to 8 min 10 s)');
  expect(placeText({ ...place, estimated_start_range: null }, 1240)).toBe(
    '3rd of 12, starts right away',
  );
  expect(placeText({ ...place, estimated_start_range: [1000, 1490] }, 1000)).toBe(
    '3rd of 12, starts within 8 min 10 s',
  );
  expect(
    placeText({ ...place, estimated_start: 1004, estimated_start_range: [990, 1010] }, 1000),
  ).toBe('3rd of 12, starts within 10 s');
  expect(placeText({ ...place, estimated_start: null }, 1000)).toBe(
    '3rd of 12, no start forecast yet',
  );
  expect(placeText({ queue_position: null, queue_length: null }, 1000)).toBe('');
  expect(placeText({}, 1000)).toBe('');
});

it('formats ordinals', () => {
  const said = [1, 2, 4, 11, 12, 13, 21, 22, 103, 111, 112].map((queue_position) =>
    placeText({ queue_position, queue_length: 200 }).replace(/ of .*/, ''),
  );
  expect(said).toEqual([
    ...['1st', '2nd', '4th', '11th', '12th', '13th', '21st', '22nd', '103rd', '111th', '112th'],
  ]);
});
