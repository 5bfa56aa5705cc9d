/* eslint words/strings: 'off' -- the texts must not change */
// Texts of several kinds that no job trains on. Their loss before and after training shows what the model has
// forgotten.
// They were written for this purpose and must not change: losses are comparable only within one version.

export const FIXED_TEXTS: readonly string[] = [
  `The water of a river comes from rain and melting snow. Where the ground is steep it runs fast and carries stones along; in the plain it slows down, winds from side to side and drops the sand that it brought. At its mouth the sand may pile up until the river parts into several arms. Such land is flat and fertile, and people have lived on it for thousands of years, although it is often flooded. Most of the world's large cities stand on the bank of a river or near the sea, because goods were cheaper to carry by boat than by cart.`,
  `"Did you lock the door?" she asked when they had reached the corner of the street.
"I think so," he said. "I remember the key in my hand."
"You remembered the key last week, too, and we found the door wide open." She laughed, but she had already turned around. "Wait here with the bags. If it is locked, I will buy you a coffee, and if it is not, you carry everything to the station by yourself."
He sat down on the wall and watched her walk back. The train left in twenty minutes.`,
  `A farmer has 48 eggs and packs them in boxes of 6. He needs 48 / 6 = 8 boxes. He sells 5 of them for 3 dollars each, which makes 5 * 3 = 15 dollars. There are 8 - 5 = 3 boxes left, with 3 * 6 = 18 eggs. If he gives 4 eggs to each of his neighbours, 4 neighbours get some, since 4 * 4 = 16, and 18 - 16 = 2 eggs are left for his breakfast.`,
  `def count_words(text):
    """Return a dictionary from each word of the text to how often it occurs."""
    counts = {}
    for word in text.lower().split():
        word = word.strip(".,;:!?")
        if word:
            counts[word] = counts.get(word, 0) + 1
    return counts

words = count_words("The dog saw the cat. The cat ran away!")
print(sorted(words.items(), key=lambda item: item[1], reverse=True))
`,
  `Dear Ms. Morgan,
Thank you for your letter of 3 May. We are sorry that the lamp arrived broken. You do not have to send it back: a new one left our warehouse this morning and should reach you by Friday. If you would rather have your money returned, please call us on weekdays between nine and five, and have the number of your order at hand.
Yours sincerely,
The customer service team`,
];
