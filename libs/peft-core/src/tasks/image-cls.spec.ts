import { describe, expect, it } from 'vitest';
import { TaskFit } from '../datasets/task-fit.js';
import { imageCls } from './image-cls.js';
import { labelLosses } from './labels/label-losses.js';
import { tensor, tidy } from '@graft/kernels';

const URL_ = 'data:image/png;base64,aGVsbG8=';
const picture = { type: 'image_url', image_url: { url: URL_ } };
const chat = (...messages: readonly (readonly [string, unknown])[]) => ({
  messages: messages.map(([role, content]) => ({ role, content })),
});

describe('records', () => {
  it.each([
    [{ image: URL_, label: 'cat' }, 'image', []],
    [{ image: URL_, label: 3 }, 'image', []],
    [{ image: URL_, labels: ['cat', 'dog'] }, 'image', []],
    [chat(['user', [picture]], ['assistant', 'cat']), 'image chat', []],
    [
      chat(
        ['system', 'You name animals.'],
        ['user', [{ type: 'text', text: 'Which?' }, picture]],
        ['assistant', 'cat'],
      ),
      'image chat',
      ['messages[].content[].text', 'messages[0]'],
    ],
  ])('accept %j', (record, format, ignored) => {
    expect(imageCls.check(record)).toBeNull();
    expect(imageCls.facts(record)).toMatchObject({ format, ignored });
  });

  it.each([
    [{ image: URL_ }, /a record must be \{"image","label"\}/],
    [{ image: 'cat.png', label: 'cat' }, /must be an image as a data URL/],
    [{ image: URL_, label: 'cat', labels: [] }, /remove one of them/],
    [{ image: URL_, labels: 'cat' }, /"labels" must be a list/],
    [{ image: URL_, label: '' }, /"label" is empty/],
    [{ image: URL_, label: 'cat', size: 3 }, /unknown key "size"/],
    [chat(['user', 'cat?'], ['assistant', 'cat']), /expected one image .* got 0/],
    [chat(['user', [picture, picture]], ['assistant', 'cat']), /expected one image .* got 2/],
    [chat(['user', [picture, null]], ['assistant', 'cat']), /parts of the user/],
    [chat(['user', [picture]], ['assistant', null]), /"content" of the assistant/],
    [chat(['assistant', 'cat'], ['user', [picture]]), /one user message/],
    [{ messages: 3 }, /must be a list/],
  ])('reject %j', (record, reason) => {
    expect(imageCls.check(record)).toMatch(reason);
  });

  it('identify this task', () => {
    const fit = new TaskFit();
    expect(fit.take({ image: URL_, label: 'cat' }, 1)).toMatchObject({ format: 'image' });
    expect(fit.take({ image: URL_, label: 'dog', size: 1 }, 2)).toMatch(/unknown key "size"/);
    expect(fit.lead.name).toBe('image_cls');
  });
});

describe('labels', () => {
  const surveyed = (labels: readonly unknown[], given: object = {}) => {
    const survey = imageCls.survey!(imageCls.options.parse(given));
    for (const label of labels) {
      const reason = survey.see({ image: URL_, ...(Array.isArray(label) ? { labels: label } : { label }) }); // prettier-ignore
      if (reason !== null) throw new Error(reason);
    }
    return survey.options();
  };

  it('are detected in the records', () => {
    expect(surveyed(['dog', 'cat', 'dog'])).toMatchObject({
      problem_type: 'single_label_classification',
      labels: ['cat', 'dog'],
    });
    expect(surveyed([['a'], ['a', 'b'], []])).toMatchObject({
      problem_type: 'multi_label_classification',
      labels: ['a', 'b'],
    });
  });

  it('are rejected if they do not match', () => {
    expect(() => surveyed(['a', ['b']])).toThrow(/"label" is a list/);
    expect(() => surveyed([0.5, 1.5])).toThrow(
      'labels with fractions, such as 0.5, are scores, which this task does not support; if they are class names, list them in graft.task_options.labels',
    );
    const labels = ['0.5', '1.5'];
    expect(surveyed([0.5, 1.5], { labels })).toMatchObject({ labels });
    expect(surveyed([0.5, 'other'])).toMatchObject({ labels: ['0.5', 'other'] });
    expect(() => surveyed(['a', 'c'], { labels: ['a', 'b'] })).toThrow(/"c" is not one of/);
    expect(imageCls.options.safeParse({ problem_type: 'regression' }).success).toBe(false);
  });
});

it('counts top-5 accuracy for at least six labels', () => {
  const one = (...logits: number[]) =>
    tidy(() => {
      const options = { problem_type: 'single_label_classification' as const, labels: null };
      return labelLosses(tensor(logits, [1, logits.length]), [{ target: Float64Array.of(0) }], options).totals; // prettier-ignore
    });
  expect(one(1, 2, 3, 4, 5, 0)).toMatchObject({ right: 0, top5: 1 });
  expect(one(1, 2, 3, 4, 5, 6)).toMatchObject({ top5: 0 });
  expect(one(1, 2, 3, 4, 5)).not.toHaveProperty('top5');
  expect(one(1, 1, 1, 1, 1, 1)).toMatchObject({ right: 1, top5: 1 });
  expect(one(NaN, NaN, NaN, NaN, NaN, NaN)).toMatchObject({ right: 0, top5: 0 });
});
