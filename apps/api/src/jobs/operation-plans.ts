import { Injectable } from '@nestjs/common';
import {
  CreateOperation,
  DomainError,
  nameOfOperation,
  parseBody,
  type AdapterOperation,
  type Spec,
} from '@graft/contracts';
import type { Principal } from '../auth/principal.js';
import { checkOperation, resolveSpec } from '../catalog/plugins.js';
import type { StoredFile } from '../database/entities/storage.js';
import { priorityWithin } from '../lifecycle/lease/quotas.js';
import { ModelsService, type Resolved } from '../models/models.service.js';
import { PoolTerms } from '../preview/pool-terms.js';
import { DEFAULT_POOL } from '../queue/pool.js';

/** A validated and resolved operation; nothing is written yet. */
export interface OperationPlan {
  readonly request: CreateOperation;
  readonly adapters: readonly Resolved[];
  readonly base: Resolved['base'];
  /** Files of all adapters. Their names start with the index of the adapter and a slash. */
  readonly files: readonly StoredFile[];
  readonly spec: Spec;
  readonly pool: string;
  readonly priority: number;
  /** Warning that no worker has ever joined the pool; null if one has. */
  readonly neverJoined: string | null;
}

/** An adapter and the request field that names it. */
interface NamedAdapter {
  readonly adapter: Resolved;
  readonly param: string;
}

/** Converts the request body of an operation into a plan. */
@Injectable()
export class OperationPlans {
  constructor(
    private readonly models: ModelsService,
    private readonly pools: PoolTerms,
  ) {}

  /** @throws DomainError naming the invalid field */
  async of(caller: Principal, body: unknown): Promise<OperationPlan> {
    const request = parseBody(CreateOperation, body);
    const pool = request.pool ?? DEFAULT_POOL;
    const terms = await this.pools.of(caller.projectId, pool, 'pool');
    const priority = priorityWithin(caller.projectId, terms.limits, request.priority);
    const names =
      request.type === 'combine'
        ? request.adapters.map((name, i) => [name, `adapters[${i}]`] as const)
        : ([[request.model, 'model']] as const);
    const named: NamedAdapter[] = [];
    for (const [name, param] of names)
      named.push({ adapter: await this.operand(caller, request, name, param), param });
    const [first] = named as [NamedAdapter];
    if (request.type === 'combine') checkWeights(request);
    for (const one of named) {
      checkCompatible(one, first);
      const { adapter, param } = one;
      checkOperation(nameOfOperation(request), await this.models.operand(adapter, param), param);
    }
    const adapters = named.map(({ adapter }) => adapter);
    const files = adapters.flatMap(({ adapter }, i) =>
      adapter.map((file) => ({ ...file, name: `${i}/${file.name}` })),
    );
    const { base } = first.adapter;
    const { neverJoined } = terms;
    const spec = specOf(request, first.adapter);
    return { request, adapters, base, files, spec, pool, priority, neverJoined };
  }

  private async operand(
    caller: Principal,
    request: CreateOperation,
    name: string,
    param: string,
  ): Promise<Resolved> {
    const found = await this.models.resolve(caller, name, param);
    const takesWhole = request.type === 'export' && request.format === 'gguf';
    if (found.adapter.length > 0 || takesWhole) return found;
    throw new DomainError('invalid_adapter', `${name} is a whole model, not an adapter`, param);
  }
}

/** @throws DomainError if the adapter cannot be combined with the first one */
function checkCompatible({ adapter, param }: NamedAdapter, { adapter: first }: NamedAdapter): void {
  if (adapter.base.id !== first.base.id) {
    const message = `${adapter.id} was trained on ${adapter.base.id}, not on ${first.base.id}`;
    throw new DomainError('invalid_adapter', message, param);
  }
  const [task, of] = [adapter.task?.name ?? null, first.task?.name ?? null];
  if (task === of) return;
  const message = `${adapter.id} was trained for ${task}, not for ${of}; combine adapters of one task`;
  throw new DomainError('invalid_adapter', message, param);
}

/** @throws DomainError unless there is one weight for each adapter */
function checkWeights({ weights, adapters }: Extract<CreateOperation, { type: 'combine' }>): void {
  if (weights.length === adapters.length) return;
  throw new DomainError(
    'invalid_value',
    `weights: expected ${adapters.length}, one for each adapter, got ${weights.length}`,
    'weights',
  );
}

/**
 * Spec of an operation. How the base is loaded comes from the first adapter; the training options are not
 * used.
 */
function specOf(request: CreateOperation, { base, task, baseDtype, quantization }: Resolved): Spec {
  const held = {
    ...(baseDtype === null ? {} : { base_dtype: baseDtype as Spec['base_dtype'] }),
    ...(quantization === null ? {} : { quantization }),
    ...(task ? { task: task.name } : {}),
  };
  const spec = resolveSpec(
    { model: base.id, training_file: 'none', graft: held },
    { trainingRecords: 1, ...(base.family ? { modelType: base.family } : {}) },
  );
  return {
    ...spec,
    ...(task ? { task_options: task.options } : {}),
    peft: isWhole(request) ? null : { peft_type: 'LORA' },
    operation: operationOf(request),
  };
}

/** Whether the result is a full model instead of an adapter. */
const isWhole = (request: CreateOperation): boolean =>
  request.type === 'merge' || (request.type === 'export' && request.format !== 'vllm');

function operationOf(request: CreateOperation): AdapterOperation {
  const { suffix: _, metadata: __, pool: ___, priority: ____, ...rest } = request;
  if (rest.type === 'combine') {
    const { adapters: _____, ...combine } = rest;
    return combine;
  }
  const { model: ______, ...one } = rest;
  return one;
}
