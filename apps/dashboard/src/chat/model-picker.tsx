import type { Catalog, ModelObject } from '@graft/contracts';
import { Columns2, Copy, ExternalLink, X } from 'lucide-react';
import { modelTitle } from '../format.js';
import { Button, IconButton } from '../ui/controls/button.js';
import { Combobox, type Option } from '../ui/controls/combobox.js';
import { copyText } from '../ui/controls/copy-button.js';
import { Link } from '../ui/link.js';
import { ActionMenu, type Action } from '../ui/overlays/menu.js';
import { useToast } from '../ui/overlays/toasts.js';
import './model-picker.css';

const GROUPS = ['Fine-tuned', 'Checkpoints', 'Base models'] as const;

const groupOf = ({ id, graft }: ModelObject): (typeof GROUPS)[number] =>
  graft?.kind === 'base' ? 'Base models' : isCheckpoint(id) ? 'Checkpoints' : 'Fine-tuned';

export const isCheckpoint = (id: string): boolean => /:ckpt-step-\d+$/.test(id);

const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

function textOf({ graft }: ModelObject, catalog: Catalog | null): string {
  if (!graft) return '';
  if (graft.kind === 'base')
    return graft.parameters === null ? '' : `${compact.format(graft.parameters)} parameters`;
  const task = catalog?.tasks.find(({ name }) => name === graft.task)?.title;
  return [graft.base && modelTitle(graft.base), task].filter(Boolean).join(' · ');
}

/** Returns the options of a picker: fine-tuned models first, then checkpoints and base models. */
export const modelOptions = (
  models: readonly ModelObject[],
  catalog: Catalog | null,
): readonly Option[] =>
  GROUPS.flatMap((group) =>
    models
      .filter((model) => groupOf(model) === group)
      .map((model) => ({
        value: model.id,
        label: modelTitle(model.id),
        text: textOf(model, catalog),
        group,
      })),
  );

interface PickersProps {
  readonly models: readonly ModelObject[];
  readonly catalog: Catalog | null;
  readonly chosen: string;
  readonly choose: (model: string) => void;
  /** Models that the chosen one can be compared with. */
  readonly fitting: readonly ModelObject[];
  readonly second: string | null;
  readonly compareWith: (model: string | null) => void;
}

/** Picks the model, and a second one to compare it with. */
export function ModelPickers(props: PickersProps) {
  const { models, catalog, chosen, choose, fitting, second, compareWith } = props;
  const compare = fitting[0];
  return (
    <div className="pickers">
      <div className="picker">
        <Combobox
          label="Model"
          value={chosen}
          options={modelOptions(models, catalog)}
          change={choose}
        />
        <ModelMenu model={models.find(({ id }) => id === chosen)} />
      </div>
      {second !== null ? (
        <div className="picker">
          <Combobox
            label="Compare with"
            value={second}
            options={modelOptions(fitting, catalog)}
            change={compareWith}
          />
          <ModelMenu model={fitting.find(({ id }) => id === second)} />
          <IconButton label="Stop comparing" icon={<X />} onClick={() => compareWith(null)} />
        </div>
      ) : (
        compare && (
          <Button icon={<Columns2 />} onClick={() => compareWith(compare.id)}>
            Compare
          </Button>
        )
      )}
    </div>
  );
}

function ModelMenu({ model }: { model: ModelObject | undefined }) {
  const toast = useToast();
  if (!model) return null;
  const { id, graft } = model;
  const job = graft?.job;
  const actions: Action[] = [
    {
      label: 'Copy model ID',
      icon: <Copy />,
      act: async () => toast((await copyText(id)) ? 'Model ID copied' : `The ID is ${id}`),
    },
  ];
  if (job)
    actions.push({
      label: 'Open its job',
      icon: <ExternalLink />,
      act: <Link to="/jobs/$id" params={{ id: job }} />,
    });
  return <ActionMenu label={`Actions for ${modelTitle(id)}`} actions={actions} />;
}
