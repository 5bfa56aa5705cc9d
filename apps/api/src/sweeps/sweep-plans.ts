import { Injectable } from '@nestjs/common';
import { DomainError, parseBody, SweepSearch, type SweepMetric } from '@graft/contracts';
import { z } from 'zod';
import type { Principal } from '../auth/principal.js';
import { totalSteps } from '../catalog/plugins.js';
import type { ResolvedSearch } from '../database/entities/sweeps.js';
import { JobPlans, plannedTokens, type JobPlan } from '../preview/job-plans.js';
import {
  checkRungs,
  checkSpacing,
  DEFAULT_REDUCTION,
  defaultRungs,
  everyFor,
  measuredAt,
  measuredEvery,
} from './rung-steps.js';
import {
  DEFAULT_SEED,
  describeOptions,
  trialsOf,
  withOptions,
  type FieldValues,
} from './search-space.js';
import { jobOf, parametersOf } from './sweep-parameters.js';

export interface PlannedTrial {
  /** Values of the sweep's parameters, by path. */
  readonly options: FieldValues;
  readonly plan: JobPlan;
}

/** A checked and resolved request to create a sweep. Nothing is written yet. */
export interface SweepPlan {
  readonly request: FieldValues;
  readonly search: ResolvedSearch;
  readonly trials: readonly [PlannedTrial, ...PlannedTrial[]];
}

const Body = z.looseObject({ search: SweepSearch });

/** Plans the trials of a sweep, each like a job. */
@Injectable()
export class SweepPlans {
  constructor(private readonly plans: JobPlans) {}

  /** @throws DomainError that names the wrong field, and the trial if it set that field */
  async of(caller: Principal, body: unknown): Promise<SweepPlan> {
    const { search: requested, ...job } = parseBody(Body, body);
    const parameters = parametersOf(requested, job);
    const { metric = 'valid_loss' } = requested;
    const request = jobOf(job, metric, parameters);
    const trials = await this.planned(caller, request, trialsOf(requested, parameters), requested);
    const search: ResolvedSearch = {
      algorithm: requested.algorithm,
      preset: requested.preset ?? null,
      parameters,
      seed: requested.seed ?? DEFAULT_SEED,
      metric,
      reduction_factor: null,
      rungs: [],
    };
    if (requested.algorithm !== 'asha') return { request, search, trials };
    return this.withRungs(caller, requested, { request, search, trials });
  }

  /** Chooses the rungs, and plans trials again that are not yet measured at these steps. */
  private async withRungs(
    caller: Principal,
    { reduction_factor: eta = DEFAULT_REDUCTION, rungs: requested }: SweepSearch,
    { request, search, trials }: SweepPlan,
  ): Promise<SweepPlan> {
    const { metric } = search;
    const steps = trials.map(({ plan }) => stepsOf(plan));
    const own = trials.map(({ options }) => everyOf(withOptions(request, options), metric));
    const shortest = Math.min(...steps);
    const rungs = requested ?? measuredAt(defaultRungs(shortest, eta), own, { metric, shortest });
    checkRungs(rungs, { shortest, longest: Math.max(...steps) });
    if (requested && own.includes(0)) checkSpacing(requested);
    const withRungs: PlannedTrial[] = [];
    for (const [n, trial] of trials.entries()) {
      const every = everyFor(rungs, own[n], metric);
      const more = everySo(every, metric);
      withRungs.push(own[n] ? trial : await this.trial(caller, request, trial.options, n, more));
    }
    const [first, ...others] = withRungs;
    if (!first) throw new Error('a sweep has at least one trial');
    return {
      request,
      search: { ...search, reduction_factor: eta, rungs },
      trials: [first, ...others],
    };
  }

  /** Plans the trials. With a preset, trials whose method does not support the task or model are skipped. */
  private async planned(
    caller: Principal,
    request: FieldValues,
    trials: readonly FieldValues[],
    { preset, algorithm, metric = 'valid_loss' }: SweepSearch,
  ): Promise<SweepPlan['trials']> {
    const planned: PlannedTrial[] = [];
    let refusal: unknown = null;
    for (const [n, options] of trials.entries()) {
      // Trials of asha are measured, which early stopping requires. Their interval is known only after
      // planning: 1 for now.
      const isUnsaid = everyOf(withOptions(request, options), metric) === 0;
      const more = algorithm === 'asha' && isUnsaid ? everySo(1, metric) : {};
      try {
        planned.push(await this.trial(caller, request, options, n, more));
      } catch (error) {
        const isOfMethod = error instanceof DomainError && error.param?.split('.')[0] === 'peft';
        if (preset === undefined || !isOfMethod) throw error;
        refusal ??= error;
      }
    }
    const [first, ...others] = planned;
    if (!first) throw refusal;
    return [first, ...others];
  }

  private async trial(
    caller: Principal,
    request: FieldValues,
    options: FieldValues,
    n: number,
    more: FieldValues,
  ): Promise<PlannedTrial> {
    const body = withOptions(withOptions(request, options), more);
    try {
      return { options, plan: await this.plans.of(caller, body) };
    } catch (error) {
      if (!(error instanceof DomainError) || !concerns(options, error.param)) throw error;
      const { code, message, param } = error;
      throw new DomainError(
        code,
        `trial ${n + 1} (${describeOptions(options)}): ${message}`,
        param,
      );
    }
  }
}

/** Whether the trial sets the field, or may have made it invalid. */
const concerns = (options: FieldValues, param: string | null): boolean =>
  Object.keys(options).some((path) => param !== null && path.split('.')[0] === param.split('.')[0]);

/**
 * Interval in steps at which the body requests that a trial is measured; 0 if it sets none. A number if the
 * body was checked.
 */
const everyOf = (body: FieldValues, metric: SweepMetric): number =>
  ((body['graft'] as FieldValues | null | undefined)?.[measuredEvery(metric)] ?? 0) as number;

const everySo = (steps: number, metric: SweepMetric): FieldValues => ({
  [`graft.${measuredEvery(metric)}`]: steps,
});

const stepsOf = ({ spec, data, training }: JobPlan): number =>
  data ? plannedTokens(spec, data.training).steps : totalSteps(spec, training.records);
