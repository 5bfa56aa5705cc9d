import { Tooltip } from '@base-ui/react/tooltip';

/** The tooltip of an element, open while mounted. */
export const LoadedTip = ({ anchor, text }: { anchor: Element; text: string }) => (
  <Tooltip.Root open>
    <Tooltip.Portal>
      <Tooltip.Positioner className="above" anchor={anchor} sideOffset={6} collisionPadding={8}>
        <Tooltip.Popup className="tip">{text}</Tooltip.Popup>
      </Tooltip.Positioner>
    </Tooltip.Portal>
  </Tooltip.Root>
);
