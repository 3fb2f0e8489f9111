//! The rules, each with its name in Confluent's Schema Registry, whose list for JSON Schema this follows.

use std::fmt;

/// Where a rule is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A difference of Confluent's, which its compatible changes do not list.
    Confluent,
    /// Draft 2020-12 has what Confluent's list does not, or has under another difference.
    Draft202012,
}

/// Makes [`Rule`] of a list with each rule's name, source and meaning.
macro_rules! rules {
    ($($rule:ident = $name:literal, $source:ident, $meaning:literal;)+) => {
        /// What a reader's schema asks for that a writer's schema does not promise.
        ///
        /// Names are those of Confluent Schema Registry's `Difference.Type` (`json-schema-provider`, package `diff`) in
        /// lower case, of those differences that `SchemaDiff.COMPATIBLE_CHANGES` does not list; [`Self::source`] says
        /// which are our own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $(
                #[doc = concat!("`", $name, "`: the writer's value ", $meaning, ".")]
                $rule,
            )+
        }

        impl Rule {
            /// Every rule.
            pub const ALL: [Self; [$(Self::$rule),+].len()] = [$(Self::$rule),+];

            /// The rule as it is reported.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$rule => $name,)+
                }
            }

            /// What a value of the writer's may be, after its name.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$rule => $meaning,)+
                }
            }

            /// Where it is from.
            #[must_use]
            pub const fn source(self) -> Source {
                match self {
                    $(Self::$rule => Source::$source,)+
                }
            }
        }
    };
}

rules! {
    TypeChanged = "type_changed", Confluent, "has another type";
    TypeNarrowed = "type_narrowed", Confluent, "may have a type that the reader does not take";
    MaxLengthAdded = "max_length_added", Confluent, "may be longer than the reader takes";
    MaxLengthDecreased = "max_length_decreased", Confluent, "may be longer than the reader takes";
    MinLengthAdded = "min_length_added", Confluent, "may be shorter than the reader takes";
    MinLengthIncreased = "min_length_increased", Confluent, "may be shorter than the reader takes";
    PatternAdded = "pattern_added", Confluent, "need not match the reader's pattern";
    PatternChanged = "pattern_changed", Confluent, "has another pattern";
    MaximumAdded = "maximum_added", Confluent, "may be greater than the reader takes";
    MaximumDecreased = "maximum_decreased", Confluent, "may be greater than the reader takes";
    MinimumAdded = "minimum_added", Confluent, "may be less than the reader takes";
    MinimumIncreased = "minimum_increased", Confluent, "may be less than the reader takes";
    ExclusiveMaximumAdded = "exclusive_maximum_added", Confluent, "may be greater than the reader takes";
    ExclusiveMaximumDecreased = "exclusive_maximum_decreased", Confluent, "may be greater than the reader takes";
    ExclusiveMinimumAdded = "exclusive_minimum_added", Confluent, "may be less than the reader takes";
    ExclusiveMinimumIncreased = "exclusive_minimum_increased", Confluent, "may be less than the reader takes";
    MultipleOfAdded = "multiple_of_added", Confluent, "need not be a multiple that the reader takes";
    MultipleOfExpanded = "multiple_of_expanded", Confluent, "need not be a multiple that the reader takes";
    MultipleOfChanged = "multiple_of_changed", Confluent, "is a multiple of something else";
    RequiredAttributeAdded = "required_attribute_added", Confluent, "may be missing, and the reader requires it";
    MaxPropertiesAdded = "max_properties_added", Confluent, "may have more properties than the reader takes";
    MaxPropertiesDecreased = "max_properties_decreased", Confluent, "may have more properties than the reader takes";
    MinPropertiesAdded = "min_properties_added", Confluent, "may have fewer properties than the reader takes";
    MinPropertiesIncreased = "min_properties_increased", Confluent, "may have fewer properties than the reader takes";
    AdditionalPropertiesNarrowed = "additional_properties_narrowed", Confluent,
        "may have further properties of a kind that the reader does not take";
    DependencyArrayAdded = "dependency_array_added", Confluent, "may stand without what the reader requires beside it";
    DependencyArrayExtended = "dependency_array_extended", Confluent,
        "may stand without what the reader requires beside it";
    DependencySchemaAdded = "dependency_schema_added", Confluent, "may stand beside what the reader does not take";
    RequiredPropertyAddedToUnopenContentModel = "required_property_added_to_unopen_content_model", Confluent,
        "is not there, and the reader requires it";
    RequiredPropertyAddedToOpenContentModel = "required_property_added_to_open_content_model", Confluent,
        "need not be there, and the reader requires it";
    PropertyAddedToOpenContentModel = "property_added_to_open_content_model", Confluent,
        "may be there as anything, because the writer's schema lets further properties be; close it first, in a \
         version with \"additionalProperties\": false";
    PropertyAddedNotCoveredByPartiallyOpenContentModel = "property_added_not_covered_by_partially_open_content_model",
        Confluent, "may be there as one of the writer's further properties, of a kind that the reader does not take";
    MaxItemsAdded = "max_items_added", Confluent, "may have more items than the reader takes";
    MaxItemsDecreased = "max_items_decreased", Confluent, "may have more items than the reader takes";
    MinItemsAdded = "min_items_added", Confluent, "may have fewer items than the reader takes";
    MinItemsIncreased = "min_items_increased", Confluent, "may have fewer items than the reader takes";
    UniqueItemsAdded = "unique_items_added", Confluent, "may have equal items, which the reader does not take";
    AdditionalItemsRemoved = "additional_items_removed", Confluent,
        "may have further items, which the reader does not take";
    AdditionalItemsNarrowed = "additional_items_narrowed", Confluent,
        "may have items of a kind that the reader does not take";
    ItemAddedToOpenContentModel = "item_added_to_open_content_model", Confluent, "may be anything at that place";
    EnumArrayNarrowed = "enum_array_narrowed", Confluent, "may have a value that the reader does not list";
    SumTypeNarrowed = "sum_type_narrowed", Confluent, "may be of an alternative that the reader does not have";
    CombinedTypeChanged = "combined_type_changed", Confluent, "need not keep to any of the reader's alternatives";
    NotTypeExtended = "not_type_extended", Confluent, "may be what the reader excludes";
    EnumAdded = "enum_added", Draft202012, "may have a value that the reader does not list";
    ConstChanged = "const_changed", Draft202012, "may have another value than the reader's only one";
    FormatAdded = "format_added", Draft202012, "need not have the reader's format";
    FormatChanged = "format_changed", Draft202012, "has another format";
    FormatLimitAdded = "format_limit_added", Draft202012, "may be earlier or later than the reader takes";
    FormatLimitNarrowed = "format_limit_narrowed", Draft202012, "may be earlier or later than the reader takes";
    PatternPropertiesAdded = "pattern_properties_added", Draft202012, "may be of a kind that the reader does not take";
    PropertyNamesNarrowed = "property_names_narrowed", Draft202012, "may have names that the reader does not take";
    ContainsChanged = "contains_changed", Draft202012, "need not contain what the reader asks for";
    ConditionChanged = "condition_changed", Draft202012, "need not keep to the reader's if, then and else";
    UnevaluatedChanged = "unevaluated_changed", Draft202012, "may have further parts that the reader does not take";
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
