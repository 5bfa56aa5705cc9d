import type { ModelObject } from '@graft/contracts';
import { Copy, Download, Rows3, Trash2 } from 'lucide-react';
import { api } from '../api/api.js';
import { archive } from '../api/download.js';
import { useMay } from '../api/own-key.js';
import { ago, bytes, count, modelTitle, moment } from '../format.js';
import { Button, ButtonLink } from '../ui/controls/button.js';
import { copyText } from '../ui/controls/copy-button.js';
import { Link } from '../ui/link.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { ActionMenu, LINE, type Action } from '../ui/overlays/menu.js';
import { useToast } from '../ui/overlays/toasts.js';
import { Row, Table } from '../ui/table.js';
import { deletionText, originText } from './model-lists.js';

const USES = {
  chat: 'Chat',
  embed: 'Embed',
  classify: 'Classify',
  transcribe: 'Transcribe',
} as const;

export interface ModelTableProps {
  readonly models: readonly ModelObject[];
  readonly onError: (error: Error) => void;
  readonly reload: () => void;
}

const sizeOf = ({ graft }: ModelObject): string => (graft?.bytes ? bytes(graft.bytes) : '–');

const Added = ({ model: { created } }: { model: ModelObject }) => (
  <span title={moment(created)}>{ago(created)}</span>
);

/** Base models. Imports in progress show how far they are. */
export function BaseTable({ models, ...rest }: ModelTableProps) {
  return (
    <Table columns={['Base model', 'Family', 'Parameters', 'Size', 'Added', '']} numbers={NUMBERS}>
      {models.map((model) => (
        <Row key={model.id}>
          <td className="break">
            <b>{model.id}</b>
            <Importing model={model} />
          </td>
          <td>{model.graft?.family ?? '–'}</td>
          <td>{model.graft?.parameters ? count(model.graft.parameters) : '–'}</td>
          <td>{sizeOf(model)}</td>
          <td>
            <Added model={model} />
          </td>
          <td className="actions">
            <TrainOn model={model} />
            <Actions model={model} {...rest} />
          </td>
        </Row>
      ))}
    </Table>
  );
}

const NUMBERS = ['Parameters', 'Size'];

function Importing({ model: { graft } }: { model: ModelObject }) {
  if (graft?.status !== 'importing') return null;
  const share = graft.progress === null ? '' : ` ${Math.round(100 * graft.progress)} %`;
  return (
    <div className="progress faint">
      <progress value={graft.progress ?? undefined} max={1} aria-label="Import" /> importing{share}
    </div>
  );
}

function TrainOn({ model: { id, graft } }: { model: ModelObject }) {
  const may = useMay();
  if (graft?.status !== 'ready' || !may('jobs:write', 'files:read')) return null;
  return (
    <ButtonLink to="/new" search={{ model: id }} size="s" aria-label={`Train ${id}`}>
      Train
    </ButtonLink>
  );
}

/** Fine-tuned models and their origins. */
export function TunedTable({ models, ...rest }: ModelTableProps) {
  return (
    <Table columns={['Model', 'Base', 'Origin', 'Size', 'Added', '']} numbers={NUMBERS}>
      {models.map((model) => (
        <Row key={model.id}>
          <td className="break">
            <ToJob model={model} />
          </td>
          <td className="break">{model.graft?.base ?? '–'}</td>
          <td className="break">{originText(model)}</td>
          <td>{sizeOf(model)}</td>
          <td>
            <Added model={model} />
          </td>
          <td className="actions">
            <Actions model={model} {...rest} />
          </td>
        </Row>
      ))}
    </Table>
  );
}

/** Files for other programs, such as GGUF. */
export function ExportTable({ models, ...rest }: ModelTableProps) {
  return (
    <Table columns={['Export', 'Origin', 'Size', 'Added', '']} numbers={NUMBERS}>
      {models.map((model) => (
        <Row key={model.id}>
          <td className="break">
            <ToJob model={model} />
          </td>
          <td className="break">{originText(model)}</td>
          <td>{sizeOf(model)}</td>
          <td>
            <Added model={model} />
          </td>
          <td className="actions">
            <Actions model={model} {...rest} />
          </td>
        </Row>
      ))}
    </Table>
  );
}

/** Title of a model, linked to its job. Its name is in the menu. */
function ToJob({ model: { id, graft } }: { model: ModelObject }) {
  const may = useMay();
  const title = <b title={id}>{modelTitle(id)}</b>;
  if (!graft?.job || !may('jobs:read')) return title;
  return (
    <Link to="/jobs/$id" params={{ id: graft.job }}>
      {title}
    </Link>
  );
}

/** Main action of a model, and a menu with the others. */
function Actions({
  model,
  onError,
  reload,
}: Omit<ModelTableProps, 'models'> & { model: ModelObject }) {
  const { id, graft } = model;
  const may = useMay();
  const actions = useActions(model, onError, reload);
  const isReady = (graft?.status ?? 'ready') === 'ready';
  return (
    <>
      {isReady && graft?.kind !== 'export' && (
        <ButtonLink to="/chat" search={{ model: id }} size="s">
          {USES[graft?.uses[0] ?? 'chat']}
        </ButtonLink>
      )}
      {graft?.kind === 'export' && may('files:read') && (
        <Button
          size="s"
          icon={<Download />}
          aria-label={`Download ${id}`}
          onClick={() => archive(id).catch(onError)}
        >
          Download
        </Button>
      )}
      <ActionMenu label={`Actions for ${modelTitle(id)}`} actions={actions} />
    </>
  );
}

function useActions(model: ModelObject, onError: (error: Error) => void, reload: () => void) {
  const { id, graft } = model;
  const may = useMay();
  const confirm = useConfirm();
  const toast = useToast();
  const actions: (Action | typeof LINE)[] = [
    {
      label: 'Copy name',
      icon: <Copy />,
      act: () => void copyText(id).then(() => toast(`Copied ${id}`)),
    },
  ];
  if (graft?.job && may('jobs:read'))
    actions.push({
      label: 'Open job',
      icon: <Rows3 />,
      act: <Link to="/jobs/$id" params={{ id: graft.job }} />,
    });
  if (may(graft?.kind === 'base' ? 'admin' : 'models:write'))
    actions.push(LINE, {
      label: 'Delete…',
      icon: <Trash2 />,
      isDanger: true,
      act: () =>
        confirm(deletionText(model), 'Delete', () => api.deleteModel(id).then(reload, onError)),
    });
  return actions;
}
