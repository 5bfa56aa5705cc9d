// Metrics of a step or an evaluation by name: conversion from the worker's format to jsonb, and to the
// format of the API.
import type { Measured } from '@graft/contracts';
import { metricsOf } from '../catalog/plugins.js';
import type { StoredValues } from '../database/entities/job.js';
import { finite } from './job-object.js';

/**
 * Converts metrics to text for a jsonb column. jsonb has no NaN or infinity, so they are stored as strings.
 */
export function valuesText(metrics: Readonly<Record<string, number>>): string {
  if (Object.values(metrics).every(Number.isFinite)) return JSON.stringify(metrics);
  const storable = Object.entries(metrics).map(([name, value]) => [
    name,
    Number.isFinite(value) ? value : String(value),
  ]);
  return JSON.stringify(Object.fromEntries(storable));
}

/** Value of a metric; NaN if it is missing. */
export const valueOf = (values: StoredValues, name: string): number => Number(values[name] ?? NaN);

/** Metrics of a step or an evaluation in the format of the API. */
export function measured(step: number, values: StoredValues): Measured {
  const numbers = Object.keys(values).map((name) => [name, finite(valueOf(values, name))]);
  return { loss: null, ...Object.fromEntries(numbers), step };
}

/**
 * Metrics for OpenAI's events and checkpoints: those that the task's charts show, with `prefix` and
 * OpenAI's names.
 */
export function openAiValues(
  task: string,
  prefix: string,
  values: StoredValues,
): Record<string, number | null> {
  const shown = metricsOf(task).validation.filter(
    ({ name, draw }) => draw !== null && values[name] !== undefined,
  );
  return Object.fromEntries(
    shown.map(({ name, openai_name: theirs }) => [
      `${prefix}_${theirs ?? name}`,
      finite(valueOf(values, name)),
    ]),
  );
}
